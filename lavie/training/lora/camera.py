"""Clips of still pictures: before a hand-held camera, or one that moves so that the subject does as words say."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ...errors import UsageError
from ..data.handheld import ROOM, walk, windows
from ..data.randomness import generator_of
from .data import Picture, resized

HANDHELD_SPEED = 0.03  # heights a frame, of the walk's deviation in each direction
WALK = "walk"
MOVES = ("still", "left", "right", "up", "down", "nearer", "farther", "hop", "roll")
WINDOW = (0.68, 0.85)  # share of the picture's height and width that a moving camera sees
PAN = (0.02, 0.03)  # widths or heights a frame
ZOOM = (0.03, 0.045)  # logarithm of the size, a frame
HOP = (0.18, 0.22)  # heights
HOPPING = 0.1 * math.pi  # radians a frame: a hop takes ten
ROLL = (0.04, 0.066)  # turns a frame
TOWARDS = {"left": (0, 1), "right": (0, -1), "up": (1, 0), "down": (-1, 0)}  # where the camera goes, down and right

CameraMove = tuple[str, str]  # words, and one of `MOVES`


def camera_moves(lines: Iterable[str]) -> tuple[CameraMove, ...]:
    """What "WORDS=MOVE" says, line by line; empty lines say nothing.

    Raises:
        UsageError: no words, or no such move.
    """
    made = []
    for line in filter(None, map(str.strip, lines)):
        words, _, move = (part.strip() for part in line.rpartition("="))
        if not words or move not in MOVES:
            raise UsageError(f"'{line}' is no move of the camera: write WORDS=MOVE, a move being {', '.join(MOVES)}.")
        made.append((words, move))
    return tuple(made)


def with_camera(
    pictures: Sequence[Picture],
    clips: int,
    crop_scale: tuple[float, float],
    seed: int,
    size: tuple[int, int],
    num_frames: int,
    moves: Sequence[CameraMove] = (),
) -> list[Picture]:
    """`clips` of each picture in that height and width.

    Without moves the camera is hand-held: its window walks over the picture, of which it is the least to the largest
    share of crop_scale, but leaves room. With moves it does one of them in each clip, and the caption says so.
    """
    made = []
    for place, picture in enumerate(pictures):
        allowed = _moves_of(picture.caption, moves)
        for index in range(clips):
            generator = generator_of(seed, "handheld", index, place)
            if not allowed:
                made.append(replace(picture, pixels=_walked(picture.pixels, crop_scale, size, num_frames, generator)))
                continue
            words, move = allowed[torch.randint(len(allowed), (), generator=generator)]
            pixels = _moved(picture.pixels, move, size, num_frames, generator)
            made.append(replace(picture, pixels=pixels, caption=reworded(picture.caption, words, moves)))
    return made


def reworded(caption: str, words: str, moves: Sequence[CameraMove]) -> str:
    """The caption with these words where it says how things move, or at its end if it does not."""
    said = "|".join(re.escape(each) for each, _ in sorted(moves, key=lambda move: -len(move[0])))
    changed, count = re.subn(rf"(?<!\w)({said})(?!\w)", lambda _: words, caption, count=1, flags=re.IGNORECASE)
    return changed if count else f"{caption}, {words}"


def _moves_of(caption: str, moves: Sequence[CameraMove]) -> list[CameraMove]:
    """What may be done to a picture. A camera that rolls turns things upside down: it is only for pictures whose
    captions say so, and these stand upright in no clip."""
    rolls = [(words, move) for words, move in moves if move == "roll"]
    if any(words.lower() in caption.lower() for words, _ in rolls):
        return rolls
    return [each for each in moves if each not in rolls]


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
    return windows(resized(pixels, (height, width))[:, 0], path, *size)


def _moved(pixels: Tensor, move: str, size: tuple[int, int], num_frames: int, generator: torch.Generator) -> Tensor:
    """[3, 1, H, W] through windows around `middle`, in −1…1 of the picture, that turn by `angle` and see a `share`."""
    between = lambda bounds: _between(bounds, generator)  # noqa: E731
    time = torch.arange(num_frames) - (num_frames - 1) / 2
    share, angle = torch.full((num_frames,), between(WINDOW)), torch.zeros(num_frames)
    room, middle = 1 - share[0].item(), torch.zeros(num_frames, 2)
    if move in ("nearer", "farther"):
        share = share * (time * between(ZOOM) * (-1 if move == "nearer" else 1)).exp()
    elif move == "roll":
        way = 1 if between((-1, 1)) < 0 else -1
        angle = 2 * math.pi * (between((0, 1)) + way * time * between(ROLL))
    else:
        speed, high = 2 * share[0] * between(PAN), 2 * share[0] * between(HOP)
        path = speed * time[:, None] * torch.tensor(TOWARDS.get(move, (0, 0)))
        if move == "hop":
            path[:, 0] = high * (HOPPING * (time + between((0, 10)))).sin().abs()
        middle = torch.stack([_within(side, room, generator) for side in path.unbind(1)], dim=1)
    return torch.stack([_window(pixels[:, 0], *pose, size) for pose in zip(share, angle, middle, strict=True)], dim=1)


def _within(path: Tensor, room: float, generator: torch.Generator) -> Tensor:
    """The path somewhere in −room…room, made smaller where it would not fit."""
    path = path - (path.max() + path.min()) / 2
    reach = path.max().item()
    if reach > room:
        return path * (room / reach)
    return path + _between((reach - room, room - reach), generator)


def _window(picture: Tensor, share: Tensor, angle: Tensor, middle: Tensor, size: tuple[int, int]) -> Tensor:
    """What [3, H, W] shows there, [3, height, width]; mirrored beyond its edges."""
    height, width = size
    y = (torch.arange(height) + 0.5) * 2 / height - 1
    x = ((torch.arange(width) + 0.5) * 2 / width - 1) * width / height
    cos, sin = share * angle.cos(), share * angle.sin()
    across = (cos * x - sin * y[:, None]) * height / width + middle[1]
    down = sin * x + cos * y[:, None] + middle[0]
    grid = torch.stack((across, down), dim=-1)[None]
    return grid_sample(picture[None], grid, padding_mode="reflection", align_corners=False)[0].clamp(-1, 1)


def _between(bounds: tuple[float, float], generator: torch.Generator) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand((), generator=generator).item()
