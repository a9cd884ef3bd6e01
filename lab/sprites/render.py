"""Scenes to pixels: every scene at any size and at any times, anti-aliased from signed distances."""

import torch
from torch import Tensor

from .backgrounds import paint
from .scene import DIRECTIONS, STEP, Scene, pose
from .shapes import DARK, SILHOUETTES, details

RGB = {
    "red": (0.87, 0.10, 0.12),
    "orange": (1.00, 0.50, 0.04),
    "yellow": (1.00, 0.88, 0.12),
    "green": (0.10, 0.60, 0.20),
    "blue": (0.12, 0.30, 0.90),
    "purple": (0.52, 0.16, 0.72),
    "pink": (1.00, 0.46, 0.72),
    "white": (0.96, 0.96, 0.97),
    "brown": (0.42, 0.24, 0.10),
    "turquoise": (0.06, 0.74, 0.70),
}
CAMERA_MOVES = {  # heights to the right in a clip, share of the view that is left out at its end
    "panning left": (-0.5, 0.0),
    "panning right": (0.5, 0.0),
    "zooming in": (0.0, 0.35),
}
OUTLINE = 0.10  # radii
TRAIL = 2.6  # radii
INK, PALE = (0.20, 0.16, 0.36), (0.74, 0.78, 0.95)
DARK_PLACES = ("night sky",)


def render(scenes: list[Scene], times: Tensor, height: int, width: int, trails: bool = False) -> tuple[Tensor, Tensor]:
    """Renders every scene at every time of `times` (0…1, [frames]).

    Returns the video, float32 [scenes, 3, frames, height, width] in −1…1, and the sprite's coverage,
    float32 [scenes, 1, frames, height, width] in 0…1, with `trails` that of its trail, too. The same scene at two sizes
    shows the same image.
    """
    video = render_backgrounds(scenes, height, width)[:, :, None].repeat(1, 1, len(times), 1, 1)
    for i, scene in enumerate(scenes):
        if scene.camera != "still":
            video[i] = _passing_background(scene, times, height, width)
    mask = torch.empty(len(scenes), 1, len(times), height, width)
    for i, scene in enumerate(scenes):  # one clip fits in the processor's cache, a batch does not
        _draw(scene, times, video[i], mask[i, 0], trails)
    return video.mul_(2).sub_(1), mask


def render_backgrounds(scenes: list[Scene], height: int, width: int) -> Tensor:
    """The backgrounds alone, float32 [scenes, 3, height, width] in 0…1."""
    images = torch.empty(len(scenes), 3, height, width)
    for background in {scene.background for scene in scenes}:
        rows = [i for i, scene in enumerate(scenes) if scene.background == background]
        images[rows] = paint(background, torch.tensor([scenes[i].seed for i in rows]), height, width)
    return images


def _passing_background(scene: Scene, times: Tensor, height: int, width: int) -> Tensor:
    """The background [3, frames, height, width] in 0…1, as a camera on its way sees it."""
    speed, zoom = CAMERA_MOVES[scene.camera]
    seeds = torch.full((len(times),), scene.seed)
    return paint(scene.background, seeds, height, width, speed * (times - 0.5), 1 - zoom * times).transpose(0, 1)


def _draw(scene: Scene, times: Tensor, video: Tensor, mask: Tensor, trails: bool) -> None:
    """Draws one scene onto video [3, frames, h, w] in 0…1 and fills its mask [frames, h, w]."""
    height, width = mask.shape[-2:]
    y = ((torch.arange(height) + 0.5) / height)[None, :, None]
    x = ((torch.arange(width) + 0.5) / height)[None, None, :]
    at_x, at_y, radius, angle = (value[0][:, None, None] for value in pose([scene], times))
    p, q = (x - at_x * (width / height)) / radius, (y - at_y) / radius
    colour = torch.tensor(RGB[scene.colour])[:, None, None, None]
    pixel = 1 / (height * radius)
    mask.zero_()
    if scene.motion in DIRECTIONS:
        trail = _trail(scene.motion, p, q)
        video.lerp_(_wake(scene.background), trail)
        if trails:
            mask.copy_(trail)
    if scene.motion == "bouncing":
        video.mul_(1 - 0.35 * _shadow(scene, x, y, width / height, radius))
    touched = _touched(p, q)
    if touched is None:
        return
    left, right, top, bottom = touched
    p, q = p[:, :, left:right], q[:, top:bottom]
    coverage = _sprite(scene, p, q, angle, pixel, colour, video[:, :, top:bottom, left:right])
    covered = mask[:, top:bottom, left:right]
    torch.maximum(covered, coverage, out=covered)


def _touched(p: Tensor, q: Tensor, reach: float = 1.3) -> tuple[int, int, int, int] | None:
    """The columns and rows that the sprite touches in any frame; None where it has left the image."""
    columns = (p.abs() < reach).any(0).any(0).nonzero()
    rows = (q.abs() < reach).any(0).any(-1).nonzero()
    if not len(columns) or not len(rows):
        return None
    return int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1


def _trail(motion: str, p: Tensor, q: Tensor) -> Tensor:
    """Three wisps that fade behind the sprite, 0…1."""
    step_x, step_y = STEP[motion]
    behind, across = -(step_x * p + step_y * q), step_y * p - step_x * q
    fade = (1 - behind / TRAIL).clamp(0, 1).sqrt()
    edge = (0.85 * fade - across.abs()).mul_(5).clamp_(0, 1)
    wisps = 0.6 + 0.4 * torch.cos(7.8 * across)
    return 0.9 * (2 * behind).clamp(0, 1) * fade * edge * wisps


def _wake(background: str) -> Tensor:
    """The colour [3, 1, 1, 1] of trails: dark as ink, and pale at night."""
    return torch.tensor(PALE if background in DARK_PLACES else INK)[:, None, None, None]


def _shadow(scene: Scene, x: Tensor, y: Tensor, aspect: float, radius: Tensor) -> Tensor:
    """A soft shadow where the sprite lands."""
    p = (x - scene.start[0] * aspect) / (0.85 * radius)
    q = (y - scene.start[1] - 0.98 * radius) / (0.16 * radius)
    return torch.exp(-(p * p)) * torch.exp(-(q * q))


def _sprite(scene: Scene, p: Tensor, q: Tensor, angle: Tensor, pixel: Tensor, colour: Tensor, video: Tensor) -> Tensor:
    """Paints the sprite onto video [3, frames, rows, columns]; returns its coverage there."""
    facing = -p if scene.mirrored else p
    cos, sin = angle.cos(), angle.sin()
    u, v = cos * facing + sin * q, cos * q - sin * facing
    distance = SILHOUETTES[scene.shape](u, v)
    coverage = (0.5 - distance / pixel).clamp_(0, 1)
    paint = _shade(colour, p, q)
    step_x, step_y = STEP.get(scene.motion, (0, 0))
    for inside, tint in details(scene.shape, u, v, (0.26 * abs(step_x), 0.2 * step_y)):
        paint.lerp_(torch.tensor(tint)[:, None, None, None], (0.5 - inside / pixel).clamp_(0, 1))
    outline = (0.5 + (distance + OUTLINE) / pixel).clamp_(0, 1)
    paint.lerp_(0.30 * colour + 0.25 * torch.tensor(DARK)[:, None, None, None], outline)
    video.lerp_(paint, coverage)
    return coverage


def _shade(colour: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """The sprite's colour, a little darker below and with a soft highlight at the upper left."""
    highlight = torch.exp(-2.5 * (p + 0.38) ** 2) * torch.exp(-2.5 * (q + 0.42) ** 2)
    depth = 1.0 - 0.10 * (q + 0.3).clamp(0, 1.3)
    return torch.lerp(colour * depth, torch.ones(()), 0.40 * highlight)
