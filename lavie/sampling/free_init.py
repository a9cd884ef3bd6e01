"""FreeInit (Wu et al. 2023): noise that already holds the layout of a clip, which makes the next one steadier."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import UsageError
from .frequencies import low_pass, mixed
from .noise import draw_noise
from .schedule import alphas_cumprod

CUTOFF = 0.25  # of frames, rows and columns, as the official code has it


def free_init(
    sample: Callable[[Tensor], Tensor],
    noise: Tensor,
    generators: list[torch.Generator],
    iterations: int,
    kind: str = "butterworth",
) -> Tensor:
    """The clip that `sample` makes from noise refined `iterations` − 1 times; 0 and 1 are plain sampling.

    sample: from standard normal noise [batch, 4, frames, height, width] to scaled latents of the same shape.
    kind: of the filter, see `frequencies.FILTERS`.

    Raises:
        UsageError: negative iterations, or an unknown filter.
    """
    if iterations < 0:
        raise UsageError(f"FreeInit iterations must be 0 or more, not {iterations}.")
    passed = low_pass(noise.shape[2:], (CUTOFF,) * 3, kind).to(noise.device)
    latents = sample(noise)
    for _ in range(iterations - 1):
        fresh = draw_noise(noise.shape[1:], generators).to(noise)
        latents = sample(refined(latents.to(noise), noise, fresh, passed))
    return latents


def refined(latents: Tensor, noise: Tensor, fresh: Tensor, passed: Tensor) -> Tensor:
    """Low frequencies of the clip noised to the last timestep, high ones of fresh noise: the noise reinitialisation.

    passed: the low-pass filter [frames, height, width], see `frequencies.low_pass`.
    """
    alpha = alphas_cumprod()[-1].item()
    return mixed(alpha**0.5 * latents + (1 - alpha) ** 0.5 * noise, fresh, passed, dims=(2, 3, 4))
