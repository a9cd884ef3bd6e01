"""What a network takes while it works, for hosts that make room beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..models import UNetConfig, VideoUNet


def activation_bytes(unet: VideoUNet, shape: Sequence[int]) -> float:
    """An estimate of what one evaluation takes beside the weights, for latents [batch, channels, frames, h, w].

    It counts feature maps of the first level that are alive at the peak, as benchmarks/activation_memory.py measures
    them at full size (51, 28 and 20 of base, interpolation and upscaler), and a tenth more.
    """
    batch, _, *rest = shape
    elements = batch * torch.Size(rest).numel() * unet.config.block_out_channels[0]
    return float(_feature_maps(unet.config) * elements * unet.dtype.itemsize)


def _feature_maps(config: UNetConfig) -> int:
    if config.temporal_convolutions:
        return 22
    return 31 if config.sparse_causal_attention else 56
