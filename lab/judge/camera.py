"""Which way the camera goes: each move is tried, and the one that lays frames over one another best is it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..world.view import MOVES
from .features import HEIGHT, LUMA, WIDTH, blurred

PACES = (0.6, 0.85, 1.1)  # of a whole move; a slower one counts as none
LAG = 1 / 3  # of the clip between the frames that are compared
STILL_BONUS = 0.01
SKY_WEIGHT = 0.35
PARALLAX = 0.95


def camera_scores(frames: Tensor, guest: Tensor | None = None) -> dict[str, float]:
    """How well each move explains frames [f, 3, 64, 96]: a correlation, at most 1.

    guest: what of the pixels is no scenery and does not count, [f, 64, 96] in 0…1.
    """
    lag = max(1, round(LAG * (len(frames) - 1)))
    part = lag / (len(frames) - 1)
    luma = (frames * LUMA).sum(1, keepdim=True)
    detail = blurred(luma, 3) - blurred(luma, 15)
    if guest is not None:
        detail = detail * (1 - F.max_pool2d(guest[:, None], 7, stride=1, padding=3))
    before, after = detail[:-lag], detail[lag:]
    starts = torch.arange(len(before)) / (len(frames) - 1)
    scores = {"still": _agreement(before, after, torch.ones_like(after)) + STILL_BONUS}
    for name in MOVES:
        if name != "still":
            scores[name] = max(_explained(before, after, starts, part, name, pace) for pace in PACES)
    return scores


def camera_of(frames: Tensor, guest: Tensor | None = None) -> str:
    scores = camera_scores(frames, guest)
    return max(scores, key=scores.get)


def _explained(before: Tensor, after: Tensor, starts: Tensor, part: float, name: str, pace: float) -> float:
    """How well `before` looks like `after` once the camera's move in between is taken out."""
    pan, tilt, zoom_from, zoom_to = MOVES[name]
    ratio = (zoom_to / zoom_from) ** (pace * part)
    y, x = torch.meshgrid(torch.linspace(-1, 1, HEIGHT), torch.linspace(-1, 1, WIDTH), indexing="ij")
    shift_x = PARALLAX * pan * pace * part * 2 * HEIGHT / WIDTH
    shift_y = tilt * pace * part * 2
    grid = torch.stack((x / ratio + shift_x, y / ratio + shift_y), dim=-1).expand(len(before), -1, -1, -1)
    moved = F.grid_sample(before, grid, align_corners=True)
    inside = (grid.abs() <= 1).all(-1, keepdim=True).permute(0, 3, 1, 2).float()
    return _agreement(moved, after, inside)


def _agreement(first: Tensor, second: Tensor, weight: Tensor) -> float:
    """The weighted correlation of two stacks of pictures [n, 1, h, w], averaged over the pairs; the sky counts less."""
    rows = torch.full((HEIGHT, 1), 1.0)
    rows[: HEIGHT * 7 // 16] = SKY_WEIGHT
    weight = weight * rows
    shared = (weight * first * second).sum((1, 2, 3))
    size = ((weight * first**2).sum((1, 2, 3)) * (weight * second**2).sum((1, 2, 3))).sqrt()
    return float((shared / size.clamp(min=1e-6)).mean())
