"""How much more a pixel looks like a guest of a colour than like the scene behind: log-likelihood ratios.

Counted in rendered clips (`python -m lab.judge.fit`): one table of colours for each (place, time), one for each
(guest's colour, time).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 16  # of each of red, green, blue
FLOOR = 0.02  # of a pixel a bin: what was never seen is unlikely, not impossible


@dataclass
class Colours:
    """scenes: {(place, time): counts}, guests: {(colour, time): counts}, each [BINS³]."""

    scenes: dict[tuple[str, str], Tensor]
    guests: dict[tuple[str, str], Tensor]

    def evidence(self, frames: Tensor, place: str, time: str) -> dict[str, Tensor]:
        """For each colour of guests, [f, 64, 96]: positive where frames [f, 3, 64, 96] have it."""
        bins = bin_of(frames)
        scene = log_density(self.scenes[place, time])[bins]
        names = [colour for colour, at in self.guests if at == time]
        return {name: log_density(self.guests[name, time])[bins] - scene for name in names}


def bin_of(frames: Tensor) -> Tensor:
    """int64 [f, h, w] of frames [f, 3, h, w] in 0…1."""
    r, g, b = (frames.clamp(0, 0.999) * BINS).long().unbind(1)
    return (r * BINS + g) * BINS + b


def log_density(counts: Tensor) -> Tensor:
    """Log-densities of counts [BINS³], blurred a little: colours that were never seen lie near some that were."""
    cube = counts.view(1, 1, BINS, BINS, BINS)
    kernel = torch.tensor([0.22, 0.56, 0.22])
    for dim in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + dim] = 3
        padding = [0, 0, 0]
        padding[dim] = 1
        cube = F.conv3d(cube, kernel.view(shape), padding=padding)
    density = cube.flatten() / cube.sum().clamp(min=1)
    return (density + FLOOR / BINS**3).log()
