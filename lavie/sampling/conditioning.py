"""The inputs of the later stages besides noise and text."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..config import MAX_NOISE_LEVEL
from ..errors import UsageError


def key_frame_of(num_frames: int) -> Tensor:
    """Index of the key frame that conditions each output frame: (k + 1) // 4, int64 [num_frames].

    0, 0, 0, 1, 1, 1, 1, 2, …: key frame m is at output frame 4m.
    Source: interpolation/sample.py, auto_inpainting_copy_no_mask.
    """
    return (torch.arange(num_frames) + 1) // 4


def first_frame_condition(frame: Tensor, num_frames: int) -> Tensor:
    """A frame's scaled latents [batch, 4, 1, h, w] repeated for every frame of a clip: [batch, 4, num_frames, h, w].

    Source: the paper, section 5.6.
    """
    return frame.expand(-1, -1, num_frames, -1, -1)


def mask_condition(latents: Tensor, missing: Tensor, grey: Tensor) -> Tensor:
    """Where frames are missing, and the masked video: [batch, 1 + 4, frames, h, w].

    Args:
        latents: scaled, [batch, 4, frames, h, w]; those of missing frames do not matter, but must be finite.
        missing: bool [frames] or [batch, frames], true for a frame that is to be made.
        grey: scaled latents [1, 4, 1, h, w] of mid-grey, which a missing frame is before the VAE sees it.

    Source: SEINE, sample_scripts/with_mask_sample.py.
    """
    mask = missing.to(latents)[..., None, :, None, None].expand(len(latents), 1, -1, *latents.shape[3:])
    return torch.cat((mask, torch.where(mask > 0, grey, latents)), dim=1)


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
