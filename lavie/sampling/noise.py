"""Random numbers that depend on the seed alone: drawn on the CPU in float32, one generator per clip."""

from __future__ import annotations

import torch
from torch import Tensor


def seeded(seed: int) -> torch.Generator:
    """A CPU generator: the same numbers on every device."""
    return torch.Generator("cpu").manual_seed(seed)


def draw_noise(shape: tuple[int, ...], generators: list[torch.Generator]) -> Tensor:
    """Standard normal [len(generators), *shape], each clip from its own generator, whatever the batch."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])
