"""Drift of long clips: colours and contrast that wander away from where they began."""

from __future__ import annotations

from torch import Tensor

from ..errors import UsageError


def matched_statistics(latents: Tensor, reference: Tensor, strength: float = 1.0) -> Tensor:
    """Latents [batch, channels, frames, height, width] with mean and standard deviation per clip and channel moved to
    those of `reference`, of the same form with any number of frames; `strength` 0 leaves them, 1 matches.

    It is AdaIN (Huang and Belongie 2017) between clips.

    Raises:
        UsageError: a strength outside 0…1.
    """
    check_strength(strength)
    if strength == 0:
        return latents
    mean, std = _statistics(latents)
    wanted_mean, wanted_std = _statistics(reference.to(latents))
    return latents.lerp((latents - mean) / std.clamp(min=1e-6) * wanted_std + wanted_mean, strength)


def check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise UsageError(f"The drift correction must be between 0 and 1, not {strength:g}.")


def _statistics(latents: Tensor) -> tuple[Tensor, Tensor]:
    dims = (2, 3, 4)
    return latents.mean(dims, keepdim=True), latents.std(dims, keepdim=True, correction=0)
