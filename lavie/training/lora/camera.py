"""Clips of images, as if filmed by a hand-held camera, or by one that moves as the caption says."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ...errors import UsageError
from ..data.handheld import ROOM, crops, walk
from ..data.randomness import generator_of
from .data import CaptionedImage, resized
from .settings import NONE, CameraMove

HANDHELD_SPEED = 0.03  # heights per frame: the walk's deviation in each direction
WINDOW = (0.68, 0.85)  # share of the image's height and width that a moving camera sees
PAN = (0.02, 0.03)  # widths or heights per frame
ZOOM = (0.03, 0.045)  # logarithm of the size, a frame
HOP = (0.18, 0.22)  # heights
HOPPING = 0.1 * math.pi  # radians a frame: a hop takes ten
TOWARDS = {"left": (0, 1), "right": (0, -1), "up": (1, 0), "down": (-1, 0)}  # where the camera goes, down and right


def with_camera(
    images: Sequence[CaptionedImage],
    clips: int,
    crop_scale: tuple[float, float],
    seed: int,
    size: tuple[int, int],
    num_frames: int,
    moves: Sequence[CameraMove] = (),
) -> list[CaptionedImage]:
    """`clips` of each image in that height and width.

    Without moves the camera is hand-held: its window wanders over the image. The window's size is within crop_scale,
    but leaves room to move. If the caption contains the words of one of the moves, each clip shows any of the moves,
    and its caption says which. If it contains words whose move is `NONE`, no clip is made.

    Raises:
        UsageError: no image is left to make a clip of.
    """
    made = []
    possible = [(words, move) for words, move in moves if move != NONE]
    cannot = {words.lower() for words, move in moves if move == NONE}
    for place, image in enumerate(images):
        said = _said(image.caption, moves)
        if any(each.group().lower() in cannot for each in said):
            continue
        for index in range(clips):
            generator = generator_of(seed, "handheld", index, place)
            if not said:
                made.append(replace(image, pixels=_walked(image.pixels, crop_scale, size, num_frames, generator)))
                continue
            words, move = possible[torch.randint(len(possible), (), generator=generator)]
            caption = image.caption[: said[0].start()] + words + image.caption[said[0].end() :]
            pixels = _moved(image.pixels, move, size, num_frames, generator)
            made.append(replace(image, caption=caption, pixels=pixels))
    if not made:
        raise UsageError(
            f"The captions of all images say words whose move of the camera is '{NONE}', so there is no clip to "
            "make: set handheld_share to 0, or add images that say other words."
        )
    return made


def _said(caption: str, moves: Sequence[CameraMove]) -> list[re.Match[str]]:
    """Where the caption contains words of the moves; at each place, the longest that start there."""
    words = "|".join(re.escape(each) for each, _ in sorted(moves, key=lambda move: -len(move[0])))
    return list(re.finditer(rf"(?<!\w)({words})(?!\w)", caption, re.IGNORECASE)) if words else []


def _walked(
    pixels: Tensor,
    crop_scale: tuple[float, float],
    size: tuple[int, int],
    num_frames: int,
    generator: torch.Generator,
) -> Tensor:
    share = _between((min(crop_scale[0], 1 / ROOM), min(crop_scale[1], 1 / ROOM)), generator)
    height, width = (round(side / share) for side in size)
    path = walk(num_frames, (height - size[0], width - size[1]), generator, HANDHELD_SPEED * size[0])
    return crops(resized(pixels, (height, width))[:, 0], path, *size)


def _moved(pixels: Tensor, move: str, size: tuple[int, int], num_frames: int, generator: torch.Generator) -> Tensor:
    """[3, 1, H, W] through windows that see a `share` of it around `middle`, in −1…1 of the image."""
    between = lambda bounds: _between(bounds, generator)  # noqa: E731
    time = torch.arange(num_frames) - (num_frames - 1) / 2
    share, middle = torch.full((num_frames,), between(WINDOW)), torch.zeros(num_frames, 2)
    if move in ("nearer", "farther"):
        share = share * (time * between(ZOOM) * (-1 if move == "nearer" else 1)).exp()
    else:
        room, speed, high = 1 - share[0].item(), 2 * share[0] * between(PAN), 2 * share[0] * between(HOP)
        path = speed * time[:, None] * torch.tensor(TOWARDS.get(move, (0, 0)))
        if move == "hop":
            path[:, 0] = high * (HOPPING * (time + between((0, 10)))).sin().abs()
        middle = torch.stack([_within(side, room, generator) for side in path.unbind(1)], dim=1)
    fine = (round(side / share.min().item()) for side in size)  # beyond, its grain would flicker
    height, width = map(min, fine, pixels.shape[-2:])
    shown = resized(pixels, (height, width))[:, 0]
    return torch.stack([_seen_by_camera(shown, *pose, size) for pose in zip(share, middle, strict=True)], dim=1)


def _within(path: Tensor, room: float, generator: torch.Generator) -> Tensor:
    """The path at some place in −room…room, scaled down if it does not fit."""
    path = path - (path.max() + path.min()) / 2
    reach = path.max().item()
    if reach > room:
        return path * (room / reach)
    return path + _between((reach - room, room - reach), generator)


def _seen_by_camera(image: Tensor, share: Tensor, middle: Tensor, size: tuple[int, int]) -> Tensor:
    """What [3, H, W] shows there, [3, height, width]; mirrored beyond its edges."""
    down, across = (middle[side] + share * ((torch.arange(size[side]) + 0.5) * 2 / size[side] - 1) for side in (0, 1))
    grid = torch.stack((across.expand(size), down[:, None].expand(size)), dim=-1)[None]
    return grid_sample(image[None], grid, padding_mode="reflection", align_corners=False)[0].clamp(-1, 1)


def _between(bounds: tuple[float, float], generator: torch.Generator) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand((), generator=generator).item()
