"""Noise for films that are made in segments: neighbouring segments agree on it where they overlap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..sampling import draw_noise, seeded
from .request import check_seed

# (what for, shape of (channels, frames, height, width), first frame) → standard normal [batch, *shape].
Draw = Callable[[str, tuple[int, ...], int], Tensor]


def clip_noise(generators: list[torch.Generator]) -> Draw:
    """Of a whole clip: drawn in turn from where the generators stand, one per clip."""

    def draw(what: str, shape: tuple[int, ...], first: int) -> Tensor:
        return draw_noise(shape, generators)

    return draw


def film_noise(seed: int, start: int) -> Draw:
    """Of a segment whose frames begin at `start` of the film: every frame's noise follows from the seed, its place in
    the film and what it is for, and from nothing else."""

    def draw(what: str, shape: tuple[int, ...], first: int) -> Tensor:
        channels, frames, *size = shape
        places = range(start + first, start + first + frames)
        generators = [seeded(derived_seed(seed, what, place)) for place in places]
        return draw_noise((channels, *size), generators).transpose(0, 1)[None]

    return draw


def segment_noise(seed: int, start: int) -> tuple[list[torch.Generator], Draw]:
    """For a segment that begins at `start`: a generator of its own, for schedulers that add noise, and `film_noise`.

    Raises:
        UsageError: an impossible seed.
    """
    check_seed(seed)
    return [seeded(derived_seed(seed, "steps", start))], film_noise(seed, start)


def derived_seed(seed: int, what: str, place: int) -> int:
    """A seed of its own for a purpose at a place."""
    return int(np.random.SeedSequence([seed, place, *what.encode()]).generate_state(1, np.uint64)[0])
