"""A judge without a network: reads what a synthetic clip shows from its pixels.

The pixels that look more like a sprite than like the ground make a mask; the mask's path, area and silhouette
give motion and shape. Background, colour and silhouette are the nearest among rendered ones.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lavie.errors import UsageError

from . import SHAPES, Scene, render
from .appearance import EVERY_COLOUR, HEIGHT, WIDTH, nearest_background, sprite_evidence
from .components import fill_holes, largest_component

PATCH = 32
ANGLES = 16
SMALLEST_SPRITE = 40  # pixels of 64×96
TRAVEL = 0.22  # heights from the first frame to the last
GROWTH = 1.25  # of the radius
HOP = 0.035  # heights, standard deviation
TURN = 0.04  # mean change of colour inside the sprite, 0…1
AREA_TOLERANCE = 0.30


@dataclass(frozen=True)
class Reading:
    """What the judge saw; everything but `background` is None or False when it found no sprite.

    `direction` is the nearest of the four directions even for a clip that goes nowhere. `steady`: one sprite
    of one colour in every frame, its area within ±30 % of the median (of the trend when it grows or shrinks).
    `overlap` is the intersection over union with the nearest silhouette, averaged over the frames.
    """

    background: str
    colour: str | None = None
    shape: str | None = None
    motion: str | None = None
    direction: str | None = None
    steady: bool = False
    overlap: float = 0.0


@dataclass(frozen=True)
class SpritePath:
    """The sprite's centre and area in every frame, in pixels of 64×96, each [frames]."""

    x: Tensor
    y: Tensor
    area: Tensor


@dataclass(frozen=True)
class Sprite:
    """Where the sprite is in frames [f, 3, 64, 96] in 0…1.

    mask: bool [f, 64, 96]. colour: its name. one_colour: the share of frames in which it has that colour. whole: the
    least share of that colour's pixels in a frame that are in one piece.
    """

    frames: Tensor
    mask: Tensor
    path: SpritePath
    colour: str
    one_colour: float
    whole: float

    def mean_colour(self) -> Tensor:
        """The mean of its pixels in every frame, [f, 3] in 0…1."""
        return (self.frames * self.mask[:, None]).sum((2, 3)) / self.mask.sum((1, 2))[:, None]


def read(video: np.ndarray | Tensor, shapes: tuple[str, ...] = SHAPES) -> Reading:
    """Reads a clip, uint8 [frames, height, width, 3] of any size near 2:3 (it is averaged down to 64×96).

    shapes: those that may be in it. Raises UsageError for anything else than such a clip.
    """
    return look(video, shapes)[0]


def look(video: np.ndarray | Tensor, shapes: tuple[str, ...] = SHAPES) -> tuple[Reading, Sprite | None]:
    """What `read` says, and the sprite where there is one in every frame."""
    frames = small_frames(video)
    background = nearest_background(frames)
    sprite = _find(frames, background)
    if sprite.path.area.min() < SMALLEST_SPRITE:
        return Reading(background, sprite.colour if sprite.mask.any() else None), None
    path = sprite.path
    motion = _motion(path, _turning(frames, sprite.mask, path))
    shape, overlap = _nearest_silhouette(sprite.mask, path, shapes)
    steady = sprite.one_colour >= 0.9 and sprite.whole > 0.7 and _area_is_steady(path.area, motion)
    return Reading(background, sprite.colour, shape, motion, _direction(path), steady, overlap), sprite


def small_frames(video: np.ndarray | Tensor) -> Tensor:
    """uint8 [frames, height, width, 3] → what the judge looks at, [frames, 3, 64, 96] in 0…1."""
    video = torch.as_tensor(video)
    if video.dtype != torch.uint8 or video.ndim != 4 or video.shape[-1] != 3:
        raise UsageError(
            f"The judge reads uint8 video [frames, height, width, 3], not {video.dtype} {tuple(video.shape)}."
        )
    return F.interpolate(video.permute(0, 3, 1, 2).float() / 255, (HEIGHT, WIDTH), mode="area")


def _find(frames: Tensor, background: str) -> Sprite:
    """What looks most like a sprite."""
    evidence, explained = sprite_evidence(frames, background)
    mask = largest_component(evidence.amax(1) > 0)[0]
    votes = (explained * mask[:, None]).sum((2, 3))
    colour = int(votes.sum(0).argmax())
    mask, share = largest_component(fill_holes(evidence[:, colour] > 0))
    one_colour = (votes.argmax(1) == colour).float().mean().item()
    return Sprite(frames, mask, _path(mask), EVERY_COLOUR[colour], one_colour, share.min().item())


def _path(mask: Tensor) -> SpritePath:
    area = mask.sum((1, 2)).float()
    x = (mask.sum(1) * (torch.arange(WIDTH) + 0.5)).sum(1) / area
    y = (mask.sum(2) * (torch.arange(HEIGHT) + 0.5)).sum(1) / area
    return SpritePath(x, y, area)


def _trend(values: Tensor) -> tuple[float, Tensor]:
    """The least-squares line through the values: its rise from the first to the last, and the line itself."""
    t = torch.linspace(-0.5, 0.5, len(values))
    slope = (t * values).sum() / (t * t).sum()
    return slope.item(), values.mean() + slope * t


def _direction(path: SpritePath) -> str:
    rise_x, rise_y = _trend(path.x)[0], _trend(path.y)[0]
    if abs(rise_x) > abs(rise_y):
        return "moving left" if rise_x < 0 else "moving right"
    return "moving up" if rise_y < 0 else "moving down"


def _motion(path: SpritePath, turning: float) -> str:
    rise_x, (rise_y, line_y) = _trend(path.x)[0], _trend(path.y)
    growth = math.exp(_trend(path.area.sqrt().log())[0])
    if growth > GROWTH or growth < 1 / GROWTH:
        return "growing" if growth > 1 else "shrinking"
    if math.hypot(rise_x, rise_y) > TRAVEL * HEIGHT:
        return _direction(path)
    if (path.y - line_y).std().item() > HOP * HEIGHT:
        return "bouncing"
    return "spinning" if turning > TURN else "standing still"


def _area_is_steady(area: Tensor, motion: str) -> bool:
    expected = _trend(area.sqrt())[1] ** 2 if motion in ("growing", "shrinking") else area.median()
    return bool(((area / expected - 1).abs() <= AREA_TOLERANCE).all())


def patches(images: Tensor, path: SpritePath) -> Tensor:
    """Cuts [f, c, h, w] around the path to PATCH×PATCH, so that every sprite has the same centre and area."""
    reach = 1.9 * (path.area / math.pi).sqrt()
    step = torch.linspace(-1, 1, PATCH)
    y = (path.y[:, None] + reach[:, None] * step) * 2 / HEIGHT - 1
    x = (path.x[:, None] + reach[:, None] * step) * 2 / WIDTH - 1
    grid = torch.stack([x[:, None, :].expand(-1, PATCH, -1), y[:, :, None].expand(-1, -1, PATCH)], dim=-1)
    return F.grid_sample(images, grid, align_corners=False, padding_mode="zeros")


def _turning(frames: Tensor, mask: Tensor, path: SpritePath) -> float:
    """How much the image inside the sprite changes over a quarter of the clip, its path taken out."""
    around = patches(frames * mask[:, None], path)
    lag = max(1, len(frames) // 4)
    change = (around[lag:] - around[:-lag]).abs().mean(1)
    return (change.mean() / patches(mask[:, None].float(), path).mean()).item()


@lru_cache(maxsize=4)
def _silhouettes(shapes: tuple[str, ...]) -> Tensor:
    """Every shape's silhouette at ANGLES angles, as it is and mirrored: [shapes, poses, PATCH²] in 0…1."""
    turn = torch.arange(ANGLES) / ANGLES
    rows = []
    for shape in shapes:
        for mirrored in (False, True):
            still = Scene("red", shape, "spinning", "snow", (0.5, 0.5), (0.5, 0.5), (0.2, 0.2), 0.0, 1.0, mirrored)
            mask = render([still], turn, HEIGHT, WIDTH)[1][0, 0] > 0.5
            rows.append(patches(mask[:, None].float(), _path(mask)).flatten(1))
    return torch.cat(rows).view(len(shapes), 2 * ANGLES, -1)


def _nearest_silhouette(mask: Tensor, path: SpritePath, shapes: tuple[str, ...]) -> tuple[str, float]:
    seen = patches(mask[:, None].float(), path).flatten(1)
    known = _silhouettes(shapes).flatten(0, 1)
    shared = seen @ known.T
    overlap = shared / (seen.sum(1)[:, None] + known.sum(1) - shared)
    best = overlap.unflatten(1, (len(shapes), -1)).amax(2).mean(0)
    return shapes[int(best.argmax())], best.max().item()
