"""Which way the camera moves: every move is tried, in the sky, at the horizon and on the ground."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from ..world.view import MOVES
from .features import HEIGHT, LUMA, WIDTH, blurred

PACES = (0.6, 0.85, 1.1)  # of a whole move
LAG = 1 / 3  # of the clip between the frames that are compared
REGIONS = (slice(0, 26), slice(26, 44), slice(44, HEIGHT))  # rows: sky, horizon, ground
SCALES = ((3, 15), (7, 31))  # pixels between which detail lies
SPECKS = (1, 2)  # frames on either side that tell rain and snow from scenery
PARALLAX = 0.95
NOISE = 2e-5  # mean square of a difference that says nothing


@dataclass(frozen=True)
class Pair:
    """Stacks of images before and after, [n, 1, h, w], and where they show no guest. part: the share of the clip that
    lies between them."""

    before: Tensor
    after: Tensor
    free_before: Tensor
    free_after: Tensor
    part: float


def camera_features(frames: Tensor, guest: Tensor | None = None) -> Tensor:
    """How much of the change in each region of frames [f, 3, 64, 96] each move explains, [features].

    guest: the share of each pixel that is no scenery and does not count, [f, 64, 96] in 0…1.
    """
    lag = max(1, round(LAG * (len(frames) - 1)))
    free = torch.ones(len(frames), 1, HEIGHT, WIDTH)
    if guest is not None:
        free = 1 - F.max_pool2d(guest[:, None], 9, stride=1, padding=4)
    rows = []
    for luma, (fine, coarse) in product([_without_specks(frames, reach) for reach in SPECKS], SCALES):
        detail = blurred(luma, fine) - blurred(luma, coarse)
        pair = Pair(detail[:-lag], detail[lag:], free[:-lag], free[lag:], lag / (len(frames) - 1))
        change = _difference(pair.before, pair.after, pair.free_before * pair.free_after)
        rows.append(torch.log(change + NOISE) / 4)
        for name in MOVES:
            if name != "still":
                rows += [_explained(pair, name, pace) for pace in PACES]
    return torch.cat(rows)


def _without_specks(frames: Tensor, reach: int) -> Tensor:
    """The brightness of frames [f, 3, h, w], each pixel the median over so many frames on either side, which removes
    rain and snow."""
    luma, last = (frames * LUMA).sum(1, keepdim=True), len(frames) - 1
    near = torch.arange(len(frames)) + torch.arange(-reach, reach + 1)[:, None]
    return luma[near.clamp(0, last)].median(dim=0).values


def _explained(pair: Pair, name: str, pace: float) -> Tensor:
    """How much smaller the difference is in each region once the camera's move is taken out, −1…1."""
    pan, tilt, zoom_from, zoom_to = MOVES[name]
    ratio = (zoom_to / zoom_from) ** (pace * pair.part)
    y, x = torch.meshgrid(torch.linspace(-1, 1, HEIGHT), torch.linspace(-1, 1, WIDTH), indexing="ij")
    shift_x = PARALLAX * pan * pace * pair.part * 2 * HEIGHT / WIDTH
    shift_y = tilt * pace * pair.part * 2
    grid = torch.stack((x / ratio + shift_x, y / ratio + shift_y), dim=-1).expand(len(pair.before), -1, -1, -1)
    both = F.grid_sample(torch.cat((pair.before, pair.free_before), dim=1), grid, align_corners=True)
    weight = (grid.abs() <= 1).all(-1)[:, None] * both[:, 1:] * pair.free_before * pair.free_after
    still, moved = (_difference(each, pair.after, weight) for each in (pair.before, both[:, :1]))
    return (still - moved) / (still + moved + NOISE)


def _difference(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean square in each region of the difference of two stacks [n, 1, h, w], [regions]."""
    squares = weight * (first - second).square()
    return torch.stack([squares[:, :, rows].sum() / weight[:, :, rows].sum().clamp(min=1) for rows in REGIONS])
