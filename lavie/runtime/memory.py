"""Estimates the memory of a network at work, for hosts that make room beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from ..models import VideoUNet
from .budget import MARGIN
from .estimate import unet_bytes


def activation_bytes(unet: VideoUNet, shape: Sequence[int]) -> float:
    """Estimated bytes of one evaluation, without the weights, for latents [batch, channels, frames, h, w]."""
    batch, _, *rest = shape
    return MARGIN * unet_bytes(unet.config, unet.dtype.itemsize, (batch, *rest))
