"""Networks so small that a test takes no time: one definition, which tests widen or narrow by a field."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from lavie.models import VideoUNet, build_unet

# A base UNet of two levels, the outer one with attention.
TWO_LEVELS = {
    "in_channels": 4,
    "block_out_channels": (32, 64),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "only_cross_attention": (False, False),
    "layers_per_block": 1,
    "attention_head_dim": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 16,
}
STAGES = {
    "base": TWO_LEVELS,
    "interpolation": {**TWO_LEVELS, "in_channels": 8, "use_first_frame": True},
    "upscaler": {
        **TWO_LEVELS,
        "in_channels": 7,
        "only_cross_attention": (True, False),
        "use_linear_projection": True,
        "num_class_embeds": 20,
        "temporal_module_config": {},
    },
}
FRAMES, IMAGES = 3, 2


def unet_of(stage: str) -> VideoUNet:
    """A stage's network with random weights, the same ones every time."""
    torch.manual_seed(0)
    return build_unet(STAGES[stage])


def inputs(stage: str, batch: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """What a stage's network takes: FRAMES and IMAGES noisy latents, timesteps, a text for each, labels."""
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(batch, STAGES[stage]["in_channels"], FRAMES + IMAGES, 6, 5, generator=generator)
    text = torch.randn(batch, 1 + IMAGES, 7, 16, generator=generator)
    labels = torch.tensor([3, 9])[:batch] if stage == "upscaler" else None
    return sample, torch.tensor([17, 640])[:batch], text, labels


def small_vae(*widths: int, **changes) -> AutoencoderKL:
    """A VAE with one level for each width: 4 of them for 8 pixels per latent pixel, 3 for 4."""
    levels = len(widths)
    config = {
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": list(widths),
        "latent_channels": 4,
        "norm_num_groups": 4,
    }
    return AutoencoderKL(**{**config, **changes})
