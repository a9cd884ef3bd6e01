"""What the later stages are given besides noise and text."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..errors import UsageError

MAX_NOISE_LEVEL = 350


def key_frame_of(num_frames: int) -> Tensor:
    """Index of the key frame that conditions each output frame: (k + 1) // 4, int64 [num_frames].

    0, 0, 0, 1, 1, 1, 1, 2, …: key frame m is shown where output frame 4m will stand.
    Source: interpolation/sample.py, auto_inpainting_copy_no_mask.
    """
    return (torch.arange(num_frames) + 1) // 4


def low_resolution_noise(pixels: Tensor, noise: Tensor, noise_level: int) -> Tensor:
    """Low-resolution pixels in −1…1 with noise of level 0…350, by the ×4 upscaler's scaled-linear betas; no clamp.

    Source: vsr/models/pipeline_stable_diffusion_upscale_video_3d.py.
    """
    if not 0 <= noise_level <= MAX_NOISE_LEVEL:
        raise UsageError(f"The noise level must be between 0 and {MAX_NOISE_LEVEL}, not {noise_level}.")
    alpha = _scaled_linear_alphas_cumprod()[noise_level].item()
    return alpha**0.5 * pixels + (1 - alpha) ** 0.5 * noise


@lru_cache(maxsize=1)
def _scaled_linear_alphas_cumprod() -> Tensor:
    betas = torch.linspace(1e-4**0.5, 0.02**0.5, 1000) ** 2
    return torch.cumprod(1 - betas, dim=0)
