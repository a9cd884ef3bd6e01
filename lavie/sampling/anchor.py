"""An anchor against drift: later clips start with the colours and coarse layout of the video's first frame.

FrameInit (ConsistI2V, Ren et al. 2024) takes the low frequencies of the initial noise from a frame that is noised. With
LaVie's betas nothing of a frame is left there (ᾱ = 4e-5), so we do it before every step, as in ILVR (Choi et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import UsageError
from .frequencies import low_pass, mixed
from .schedule import Schedule

CUTOFF = 0.25  # of frames, rows and columns, by a Gaussian, as the official FrameInit has it


@dataclass(frozen=True)
class Anchor:
    """The frame that later clips are held to.

    frame: scaled latents [batch, 4, 1, height, width].
    strength: the share of the steps, 0…1; 0 leaves a clip unchanged.

    Raises:
        UsageError: a strength outside 0…1.
    """

    frame: Tensor
    strength: float

    def __post_init__(self) -> None:
        check_anchor(self.strength)

    def applied(self, latents: Tensor, noise: Tensor, schedule: Schedule, step: int) -> Tensor:
        """Latents [batch, 4, frames, height, width] before `step`, with the low frequencies of the frame, repeated over
        time and with `noise` at that step's level; unchanged after the anchor's share of the steps."""
        if step >= self.strength * len(schedule):
            return latents
        still = schedule.noised(self.frame.to(latents).expand_as(latents), noise, step)
        passed = low_pass(latents.shape[2:], (CUTOFF,) * 3, "gaussian").to(latents.device)
        return mixed(still, latents, passed, dims=(2, 3, 4))


def check_anchor(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise UsageError(f"The anchor must be between 0 and 1, not {strength:g}.")
