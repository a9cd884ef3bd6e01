"""Random numbers that depend only on where they are used, not on what was drawn before."""

from __future__ import annotations

from hashlib import blake2b

import torch


def seed_of(*path: int | str) -> int:
    """A seed of 63 bits for a place, such as (run's seed, "clip", number of the example)."""
    digest = blake2b("/".join(map(str, path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_of(*path: int | str) -> torch.Generator:
    """A fresh generator for a place; see `seed_of`."""
    return torch.Generator().manual_seed(seed_of(*path))


def draw(generator: torch.Generator, count: int) -> int:
    """A whole number in 0…count − 1."""
    return int(torch.randint(count, (), generator=generator))


def uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), dtype=torch.float64, generator=generator))
