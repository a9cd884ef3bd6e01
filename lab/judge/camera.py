"""Which way the camera goes: each move is tried, in the sky, at the horizon and on the ground."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..world.view import MOVES
from .features import HEIGHT, LUMA, WIDTH, blurred

PACES = (0.6, 0.85, 1.1)  # of a whole move
LAG = 1 / 3  # of the clip between the frames that are compared
REGIONS = (slice(0, 26), slice(26, 44), slice(44, HEIGHT))  # rows: sky, horizon, ground
SCALES = ((3, 15), (7, 31))  # pixels between which detail lies
PARALLAX = 0.95
NOISE = 2e-5  # mean square of a difference that says nothing


def camera_features(frames: Tensor, guest: Tensor | None = None) -> Tensor:
    """How much of the change in each region of frames [f, 3, 64, 96] each move explains, [features].

    guest: what of the pixels is no scenery and does not count, [f, 64, 96] in 0…1.
    """
    lag = max(1, round(LAG * (len(frames) - 1)))
    free = None if guest is None else 1 - F.max_pool2d(guest[:, None], 7, stride=1, padding=3)
    luma, rows = _without_specks(frames), []
    for fine, coarse in SCALES:
        detail = blurred(luma, fine) - blurred(luma, coarse)
        detail = detail if free is None else detail * free
        before, after = detail[:-lag], detail[lag:]
        rows.append(torch.log(_difference(before, after, torch.ones_like(before)) + NOISE) / 4)
        for name in MOVES:
            if name != "still":
                rows += [_explained(before, after, lag / (len(frames) - 1), name, pace) for pace in PACES]
    return torch.cat(rows)


def _without_specks(frames: Tensor) -> Tensor:
    """The brightness of frames [f, 3, h, w], each averaged with its neighbours in time, so that rain and snow fade."""
    luma = (frames * LUMA).sum(1, keepdim=True)
    return (luma[[0, *range(len(luma) - 1)]] + luma + luma[[*range(1, len(luma)), -1]]) / 3


def _explained(before: Tensor, after: Tensor, part: float, name: str, pace: float) -> Tensor:
    """How much smaller the difference is in each region once the camera's move is taken out, −1…1."""
    pan, tilt, zoom_from, zoom_to = MOVES[name]
    ratio = (zoom_to / zoom_from) ** (pace * part)
    y, x = torch.meshgrid(torch.linspace(-1, 1, HEIGHT), torch.linspace(-1, 1, WIDTH), indexing="ij")
    shift_x = PARALLAX * pan * pace * part * 2 * HEIGHT / WIDTH
    shift_y = tilt * pace * part * 2
    grid = torch.stack((x / ratio + shift_x, y / ratio + shift_y), dim=-1).expand(len(before), -1, -1, -1)
    inside = (grid.abs() <= 1).all(-1)[:, None].float()
    still = _difference(before, after, inside)
    moved = _difference(F.grid_sample(before, grid, align_corners=True), after, inside)
    return (still - moved) / (still + moved + NOISE)


def _difference(first: Tensor, second: Tensor, inside: Tensor) -> Tensor:
    """The mean square in each region of two stacks of pictures [n, 1, h, w], [regions]."""
    squares = inside * (first - second).square()
    return torch.stack([squares[:, :, rows].sum() / inside[:, :, rows].sum().clamp(min=1) for rows in REGIONS])
