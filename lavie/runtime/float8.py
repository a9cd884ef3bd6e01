"""Weights in 8 bits, for cards that the network does not fit otherwise. This changes the result slightly."""

from __future__ import annotations

import torch

from ..errors import LavieError
from ..models import VideoUNet

KEPT = ("norm", "conv_in", "conv_out", "time_emb", "class_emb", "rel_pos")  # small, or read elsewhere


def store_as_float8(unet: VideoUNet) -> None:
    """Store linear layers and convolutions as float8_e4m3fn; they still compute in the precision that they had.

    Raises:
        LavieError: this diffusers cannot do it (0.33 and later can).
    """
    try:
        from diffusers.hooks.layerwise_casting import apply_layerwise_casting
    except ImportError as lack:
        raise LavieError("Weights in 8 bits need diffusers 0.33 or newer.") from lack
    apply_layerwise_casting(unet, torch.float8_e4m3fn, unet.dtype, skip_modules_pattern=KEPT)
