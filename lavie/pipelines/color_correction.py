"""Enlarged frames keep the colours of their input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from ..config import COLOR_CORRECTIONS
from ..errors import UsageError

LEVELS = 2  # of a wavelet transform; an image of a quarter of the size can show everything coarser
_KERNEL = (0.25, 0.5, 0.25)


def color_corrected(frames: Tensor, small: Tensor, name: str) -> Tensor:
    """The enlarged frames, corrected by the small ones.

    "wavelet": low frequencies of the small frames, enlarged bicubically, high ones of the large frames, split by
    `LEVELS` of the à trous wavelet transform. After StableSR's "wavelet color fix" (Wang et al. 2023), which takes five
    levels; with two, everything that the small frames can hold comes from them. "none": unchanged.

    Args:
        frames: [n, 3, H, W] in any range. small: [n, 3, h, w] in the same range.
    """
    if name not in COLOR_CORRECTIONS:
        raise UsageError(f"Unknown color_correction '{name}'. Choose one of: {', '.join(COLOR_CORRECTIONS)}.")
    if name == "none":
        return frames
    enlarged = interpolate(small.to(frames), frames.shape[2:], mode="bicubic")
    return frames + low_frequencies(enlarged - frames)


def low_frequencies(images: Tensor) -> Tensor:
    """Images [n, channels, height, width] blurred `LEVELS` times, each time twice as wide; edges are repeated."""
    channels = images.shape[1]
    row = torch.tensor(_KERNEL).to(images)
    kernel = torch.outer(row, row).expand(channels, 1, 3, 3)
    for level in range(LEVELS):
        reach = 2**level
        padded = pad(images, (reach,) * 4, mode="replicate")
        images = conv2d(padded, kernel, groups=channels, dilation=reach)
    return images
