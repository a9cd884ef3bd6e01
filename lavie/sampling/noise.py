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
    """The noise of whole clips, drawn from the generators' current state, one generator per clip."""

    def draw(what: str, shape: tuple[int, ...], first: int) -> Tensor:
        return draw_noise(shape, generators)

    return draw


def segment_noise(seed: int, start: int) -> Draw:
    """The noise of a segment that starts at frame `start` of a longer video. The noise of a frame depends only on the
    seed, its place in the video and its purpose, so neighbouring segments agree where they overlap."""

    def draw(what: str, shape: tuple[int, ...], first: int) -> Tensor:
        channels, frames, *size = shape
        places = range(start + first, start + first + frames)
        generators = [seeded(derived_seed(seed, what, place)) for place in places]
        return draw_noise((channels, *size), generators).transpose(0, 1)[None]

    return draw


def derived_seed(seed: int, what: str, place: int) -> int:
    """A separate seed for a purpose at a place."""
    return int(np.random.SeedSequence([seed, place, *what.encode()]).generate_state(1, np.uint64)[0])
