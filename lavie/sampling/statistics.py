"""Corrects the drift of long clips: colours, contrast and sharpness that move away from those at the start."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError
from .frequencies import low_pass, mixed

SHARP = 0.5  # share of the highest frequency of rows and columns; above it is sharpness, below it contrast


def matched_statistics(latents: Tensor, reference: Tensor, strength: float = 1.0) -> Tensor:
    """Latents [batch, channels, frames, height, width] with the mean of every clip and channel, and its deviations in
    low and in high spatial frequencies, moved to those of `reference`, of the same form with any number of frames;
    `strength` 0 leaves them, 1 matches.

    It is AdaIN (Huang and Belongie 2017) between clips, for coarse and fine detail each.

    Raises:
        UsageError: a strength outside 0…1.
    """
    check_strength(strength)
    if strength == 0:
        return latents
    mean, *wanted = _parts(reference.to(latents))
    matched = mean
    for part, like in zip(_parts(latents)[1:], wanted, strict=True):
        matched = matched + part * _deviation(like) / _deviation(part).clamp(min=1e-6)
    return latents.lerp(matched, strength)


def check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise UsageError(f"The drift correction must be between 0 and 1, not {strength:g}.")


def _parts(latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The mean per clip and channel, and what low and high frequencies add to it; both have mean 0."""
    mean = latents.mean((2, 3, 4), keepdim=True)
    around = (latents - mean).float()
    passed = (low_pass(latents.shape[3:], (SHARP, SHARP)) >= 0.5).float().to(latents.device)
    low = mixed(around, torch.zeros_like(around), passed, dims=(3, 4))
    return mean, low.to(latents), (around - low).to(latents)


def _deviation(part: Tensor) -> Tensor:
    return part.std((2, 3, 4), keepdim=True, correction=0)
