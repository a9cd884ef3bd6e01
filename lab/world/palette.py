"""The colours of times of day, of what light makes of the land, and of guests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """zenith, middle, horizon: of the sky. sun: of the disc; glow: around it. land: what sunlight makes of white.
    cloud: lit side, shade: far side. glow_size in heights, glow_strength 0…1."""

    zenith: Colour
    middle: Colour
    horizon: Colour
    sun: Colour
    glow: Colour
    land: Colour
    cloud: Colour
    shade: Colour
    glow_size: float
    glow_strength: float


LIGHTS = {
    "dawn": Light(
        (0.45, 0.58, 0.86),
        (0.77, 0.69, 0.86),
        (1.00, 0.82, 0.74),
        (1.00, 0.96, 0.84),
        (1.00, 0.80, 0.66),
        (0.86, 0.76, 0.84),
        (1.00, 0.88, 0.86),
        (0.70, 0.64, 0.82),
        0.34,
        0.60,
    ),
    "noon": Light(
        (0.13, 0.42, 0.84),
        (0.36, 0.66, 0.95),
        (0.80, 0.92, 0.99),
        (1.00, 0.99, 0.90),
        (1.00, 0.97, 0.86),
        (1.00, 1.00, 0.97),
        (1.00, 1.00, 1.00),
        (0.70, 0.80, 0.92),
        0.22,
        0.50,
    ),
    "sunset": Light(
        (0.27, 0.16, 0.46),
        (0.84, 0.34, 0.42),
        (1.00, 0.68, 0.28),
        (1.00, 0.93, 0.66),
        (1.00, 0.66, 0.30),
        (0.80, 0.48, 0.44),
        (1.00, 0.66, 0.44),
        (0.50, 0.22, 0.42),
        0.40,
        0.75,
    ),
    "night": Light(
        (0.04, 0.06, 0.20),
        (0.07, 0.15, 0.38),
        (0.20, 0.34, 0.58),
        (0.98, 0.97, 0.88),
        (0.52, 0.66, 0.95),
        (0.34, 0.42, 0.64),
        (0.42, 0.50, 0.70),
        (0.14, 0.20, 0.40),
        0.30,
        0.55,
    ),
}
TIMES = tuple(LIGHTS)
GUEST_RGB = {
    "red": (0.90, 0.13, 0.14),
    "yellow": (1.00, 0.84, 0.12),
    "green": (0.14, 0.66, 0.28),
    "blue": (0.16, 0.40, 0.95),
    "purple": (0.56, 0.22, 0.80),
    "pink": (1.00, 0.45, 0.70),
    "white": (0.97, 0.97, 0.97),
    "orange": (1.00, 0.50, 0.06),
}


def rgb(colour: Colour | Tensor) -> Tensor:
    """[3, 1, 1, 1], to be broadcast over frames and pixels."""
    return torch.as_tensor(colour, dtype=torch.float32).view(3, 1, 1, 1)


def mix(first: Tensor, second: Tensor, share: Tensor | float) -> Tensor:
    return first + (second - first) * share
