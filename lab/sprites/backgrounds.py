"""Painterly backgrounds: a soft vertical gradient and a little seeded structure, at any resolution."""

import math

import torch
from torch import Tensor

PALETTE = {  # upper and lower colour of the gradient
    "green grass": ((0.71, 0.86, 0.52), (0.33, 0.60, 0.25)),
    "blue sky": ((0.36, 0.62, 0.90), (0.76, 0.89, 0.98)),
    "night sky": ((0.04, 0.05, 0.16), (0.17, 0.15, 0.36)),
    "desert": ((0.98, 0.88, 0.70), (0.84, 0.63, 0.36)),
    "snow": ((0.74, 0.81, 0.90), (0.96, 0.97, 0.99)),
    "sea": ((0.64, 0.88, 0.88), (0.06, 0.40, 0.50)),
    "sunset": ((0.42, 0.24, 0.48), (0.98, 0.62, 0.38)),
}


def seeded(seeds: Tensor, count: int) -> Tensor:
    """Numbers in 0…1 that depend on the scene's seed alone, [scenes, count]."""
    index = torch.arange(1, count + 1)
    mixed = (seeds[:, None] * 6364136223846793005 + index * 1442695040888963407) ^ (seeds[:, None] >> 7)
    mixed = (mixed ^ (mixed >> 29)) * 2862933555777941757
    return ((mixed >> 33) & 0xFFFFFF).float() / 0x1000000


def paint(
    background: str, seeds: Tensor, height: int, width: int, shift: Tensor | None = None, view: Tensor | None = None
) -> Tensor:
    """The background for each seed, float32 [scenes, 3, height, width] in 0…1.

    shift: how far each view stands to the right, in heights. view: how much of the height and width each one
    shows around the middle, 1 for all. Both [scenes].
    """
    y = ((torch.arange(height) + 0.5) / height)[None, :, None]
    x = ((torch.arange(width) + 0.5) / width)[None, None, :] * (width / height)
    if view is not None:
        y, x = ((c - middle) * view[:, None, None] + middle for c, middle in ((y, 0.5), (x, 0.5 * width / height)))
    if shift is not None:
        x = x + shift[:, None, None]
    upper, lower = (torch.tensor(c)[None, :, None, None] for c in PALETTE[background])
    ramp = (y * y * (3 - 2 * y))[:, None]
    image = upper.lerp(lower, ramp).expand(len(seeds), 3, height, width).clone()
    random = seeded(seeds, 96)[:, :, None, None]
    DETAILS[background](image, x, y, random, 1 / height)
    return image.mul_(0.97 + 0.06 * random[:, 95:96]).clamp_(0, 1)


def _mix(image: Tensor, colour: tuple[float, float, float], amount: Tensor) -> None:
    image.lerp_(torch.tensor(colour)[None, :, None, None], amount[:, None])


def _ridge(x: Tensor, y: Tensor, level: Tensor, swell: float, wave: float, phase: Tensor, soft: float) -> Tensor:
    """How far below a wavy line: 0 above it, 1 below, with an edge `soft` heights wide."""
    line = level + swell * torch.sin(wave * x + 2 * math.pi * phase)
    return ((y - line) / soft + 0.5).clamp(0, 1)


def _blob(x: Tensor, y: Tensor, at_x: Tensor, at_y: Tensor, wide: float, high: float) -> Tensor:
    return torch.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2)


def _meadow(image, x, y, r, pixel):
    _mix(image, (0.52, 0.76, 0.36), 0.6 * _ridge(x, y, 0.36 + 0.1 * r[:, 0], 0.05, 3.1, r[:, 1], 0.03))
    _mix(image, (0.38, 0.65, 0.28), 0.6 * _ridge(x, y, 0.64 + 0.1 * r[:, 2], 0.05, 2.3, r[:, 3], 0.03))
    blades = torch.sin(46 * x + 4 * torch.sin(9 * y + 6 * r[:, 4])) * torch.sin(31 * y + 6 * r[:, 5])
    _mix(image, (0.84, 0.93, 0.52), 0.10 * blades.clamp_min(0) * y)


def _clouds(image, x, y, r, pixel):
    for i in range(3):
        at_x, at_y = 1.5 * (i + r[:, 3 * i]) / 3, 0.14 + 0.62 * r[:, 3 * i + 1]
        cloud = _blob(x, y, at_x, at_y, 0.20, 0.055)
        cloud = cloud + _blob(x, y, at_x + 0.07 * (r[:, 3 * i + 2] - 0.5), at_y - 0.045, 0.11, 0.06)
        _mix(image, (1.0, 1.0, 1.0), 0.75 * cloud.clamp_max(1))


def _stars(image, x, y, r, pixel):
    for i in range(14):
        at_x, at_y, size = 1.5 * r[:, 3 * i], 0.9 * r[:, 3 * i + 1], 0.011 + 0.008 * r[:, 3 * i + 2]
        distance = torch.hypot(x - at_x, y - at_y)
        _mix(image, (0.95, 0.95, 0.85), 0.8 * ((size - distance) / pixel + 0.5).clamp(0, 1))
    _mix(image, (0.09, 0.09, 0.24), 0.8 * _ridge(x, y, 0.86 + 0.06 * r[:, 44], 0.03, 3.3, r[:, 45], 0.02))


def _dunes(image, x, y, r, pixel):
    _mix(image, (0.93, 0.76, 0.50), 0.75 * _ridge(x, y, 0.42 + 0.1 * r[:, 0], 0.05, 2.6, r[:, 1], 0.02))
    _mix(image, (0.86, 0.66, 0.40), 0.75 * _ridge(x, y, 0.66 + 0.1 * r[:, 2], 0.05, 3.4, r[:, 3], 0.02))


def _snowfield(image, x, y, r, pixel):
    _mix(image, (0.86, 0.90, 0.96), 0.75 * _ridge(x, y, 0.45 + 0.1 * r[:, 0], 0.06, 2.9, r[:, 1], 0.03))
    _mix(image, (0.96, 0.97, 1.0), 0.85 * _ridge(x, y, 0.66 + 0.1 * r[:, 2], 0.05, 2.2, r[:, 3], 0.03))


def _waves(image, x, y, r, pixel):
    _mix(image, (0.13, 0.52, 0.60), 0.8 * _ridge(x, y, 0.34 + 0.06 * r[:, 0], 0.0, 1.0, r[:, 1], 0.02))
    crest = torch.sin(70 * y.clamp_min(0.05).sqrt() + 1.2 * torch.sin(5 * x + 6 * r[:, 2]) + 6 * r[:, 3])
    _mix(image, (0.55, 0.85, 0.85), 0.20 * (crest - 0.2).clamp_min(0) * (y > 0.4))


def _evening(image, x, y, r, pixel):
    at_x, at_y = 0.3 + 0.9 * r[:, 0], 0.66 + 0.0 * r[:, 1]
    _mix(image, (1.0, 0.80, 0.48), 0.6 * _blob(x, y, at_x, at_y, 0.42, 0.26))
    distance = torch.hypot(x - at_x, y - at_y)
    _mix(image, (1.0, 0.91, 0.62), 0.9 * ((0.12 - distance) / (2 * pixel) + 0.5).clamp(0, 1))
    _mix(image, (0.50, 0.24, 0.40), 0.9 * _ridge(x, y, 0.80 + 0.06 * r[:, 2], 0.04, 3.0, r[:, 3], 0.02))


DETAILS = {
    "green grass": _meadow,
    "blue sky": _clouds,
    "night sky": _stars,
    "desert": _dunes,
    "snow": _snowfield,
    "sea": _waves,
    "sunset": _evening,
}
