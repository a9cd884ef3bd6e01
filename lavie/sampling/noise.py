"""Random numbers that depend on the seed alone: drawn on the CPU in float32, one generator per clip."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

# (what for, shape of (channels, frames, height, width), first frame) → standard normal [batch, *shape].
Draw = Callable[[str, tuple[int, ...], int], Tensor]


def seeded(seed: int) -> torch.Generator:
    """A CPU generator: the same numbers on every device."""
    return torch.Generator("cpu").manual_seed(seed)


def draw_noise(shape: tuple[int, ...], generators: list[torch.Generator]) -> Tensor:
    """Standard normal [len(generators), *shape], each clip from its own generator, whatever the batch."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


def clip_noise(generators: list[torch.Generator]) -> Draw:
    """Of a whole clip: drawn in turn from where the generators stand, one per clip."""

    def draw(what: str, shape: tuple[int, ...], first: int) -> Tensor:
        return draw_noise(shape, generators)

    return draw


def segment_noise(seed: int, start: int) -> Draw:
    """Of a segment that begins at frame `start` of a longer video: the noise of a frame follows from the seed, its
    place in the video and what it is for alone, so neighbouring segments agree where they overlap."""

    def draw(what: str, shape: tuple[int, ...], first: int) -> Tensor:
        channels, frames, *size = shape
        places = range(start + first, start + first + frames)
        generators = [seeded(derived_seed(seed, what, place)) for place in places]
        return draw_noise((channels, *size), generators).transpose(0, 1)[None]

    return draw


def derived_seed(seed: int, what: str, place: int) -> int:
    """A seed of its own for a purpose at a place."""
    return int(np.random.SeedSequence([seed, place, *what.encode()]).generate_state(1, np.uint64)[0])
