"""What a denoising loop asks of a ControlNet or T2I-Adapter, and which noise level it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from ..errors import UsageError
from ..models.residuals import Residuals
from .schedule import NUM_TRAIN_TIMESTEPS, alphas_cumprod


@dataclass(frozen=True)
class Seen:
    """One evaluation of the network.

    latents: noisy and scaled, [halves · clips, 4, frames, h, w], without other input channels. timesteps: LaVie's,
    float32 [1], or [frames] where every frame has a noise level of its own. text: [halves · clips, tokens, channels],
    or [halves · clips, frames, tokens, channels]. halves: of the guidance, "negative" and "positive" or one of them.
    matched: see `told_timesteps`.
    """

    latents: Tensor
    timesteps: Tensor
    text: Tensor
    halves: Sequence[str]
    matched: bool = True


class ActiveControl(Protocol):
    """A ControlNet or T2I-Adapter with its hint and strengths, for some frames of a video."""

    def over(self, num_frames: int, stretch: bool = False) -> ActiveControl:
        """The same for a video of that many frames.

        Args:
            stretch: a hint of another number of frames is stretched over the video.

        Raises:
            UsageError: the hint has another number of frames.
        """
        ...

    def at(self, frames: slice | Tensor) -> ActiveControl:
        """The same for these of its frames (a slice or int64 indices)."""
        ...

    def residuals(self, seen: Seen) -> Residuals | None:
        """What it adds to the network; None: nothing."""
        ...


def noise_levels(timesteps: Tensor | float) -> Tensor:
    """σ (noise over signal) of LaVie's timesteps, float32 of the same shape; fractional timesteps are rounded."""
    timesteps = torch.as_tensor(timesteps, dtype=torch.float32)
    alpha = alphas_cumprod()[timesteps.round().long().clamp(0, NUM_TRAIN_TIMESTEPS - 1).cpu()]
    return ((1 - alpha) / alpha).sqrt().to(timesteps.device)


@lru_cache(maxsize=1)
def _log_sigmas() -> Tensor:
    """log σ of Stable Diffusion's scaled-linear betas, float32 [1000], rising."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, NUM_TRAIN_TIMESTEPS) ** 2
    alpha = torch.cumprod(1 - betas, dim=0)
    return ((1 - alpha) / alpha).sqrt().log()


def stable_diffusion_timesteps(sigmas: Tensor) -> Tensor:
    """The timesteps at which Stable Diffusion 1.x has these noise levels σ, int64 of the same shape: the nearest by
    log σ.

    LaVie's betas are linear, Stable Diffusion's scaled-linear: LaVie's timestep 500 is as noisy as its 708.
    """
    distances = (sigmas.float().log()[..., None] - _log_sigmas().to(sigmas.device)).abs()
    return distances.argmin(dim=-1)


def told_timesteps(timesteps: Tensor, matched: bool) -> Tensor:
    """What a network trained with Stable Diffusion is told at LaVie's timesteps; matched: its timestep of equal
    noise."""
    return stable_diffusion_timesteps(noise_levels(timesteps)) if matched else timesteps


def fitted_frames(hint: int, num_frames: int, stretch: bool) -> Tensor:
    """Which image of a hint of so many images each frame of a video sees, int64 [num_frames].

    Raises:
        UsageError: the hint has another number of images, and is not stretched.
    """
    if hint in (1, num_frames) or (stretch and hint):
        return torch.linspace(0, hint - 1, num_frames).round().long()
    raise UsageError(
        f"The control video has {hint} frames, the video {num_frames}. Give one image for all frames, or as many as "
        "the video has; LaVie's samplers can also stretch it (control_frames)."
    )
