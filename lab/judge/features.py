"""What the pixels of a clip show of its place, its time of day and its weather: a few hundred plain numbers."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lavie.errors import UsageError

HEIGHT, WIDTH = 64, 96
BANDS = 8  # of rows
LUMA = torch.tensor([0.3, 0.59, 0.11]).view(3, 1, 1)


def small_frames(video: np.ndarray | Tensor) -> Tensor:
    """uint8 [frames, h, w, 3] → what the judge looks at, [frames, 3, 64, 96] in 0…1.

    Raises:
        UsageError: it is no such clip.
    """
    video = torch.as_tensor(video)
    if video.dtype != torch.uint8 or video.ndim != 4 or video.shape[-1] != 3:
        raise UsageError(f"The judge reads uint8 video [frames, h, w, 3], not {video.dtype} {tuple(video.shape)}.")
    return F.interpolate(video.permute(0, 3, 1, 2).float() / 255, (HEIGHT, WIDTH), mode="area")


def blurred(images: Tensor, size: int) -> Tensor:
    """The mean around each pixel of [n, c, h, w], with mirrored borders."""
    padded = F.pad(images, (size // 2,) * 4, mode="reflect")
    return F.avg_pool2d(padded, size, stride=1)


def _by_band(values: Tensor, bands: int = BANDS) -> Tensor:
    """The mean of [frames, h, w] in each band of rows, over all frames: [bands]."""
    return values.unflatten(1, (bands, -1)).mean(dim=(0, 2, 3))


def _peak(values: Tensor) -> Tensor:
    """The root of the mean fourth power in each band of rows, which few strong pixels decide: [bands]."""
    return _by_band(values**4) ** 0.25


def _pairs(frames: Tensor) -> Tensor:
    """Up to five pairs of neighbouring frames from the whole clip, [2 · pairs, 3, h, w]."""
    starts = torch.linspace(0, len(frames) - 2, min(5, len(frames) - 1)).round().long()
    return frames[torch.stack((starts, starts + 1), dim=1).flatten()]


def features(frames: Tensor) -> Tensor:
    """Of frames [f, 3, 64, 96] in 0…1: colours by rows, edges, dots, and how they change, [features]."""
    frames = _pairs(frames)
    luma = (frames * LUMA).sum(1)
    rows = frames[::2].unflatten(2, (2 * BANDS, -1)).permute(0, 1, 2, 4, 3).flatten(3)
    colours = rows.median(dim=3).values.median(dim=0).values.flatten()
    spread = rows.std(dim=3).mean(0).flatten()
    fine = luma - blurred(luma[:, None], 7)[:, 0]
    across, down = F.pad(luma.diff(dim=2).abs(), (0, 1)), F.pad(luma.diff(dim=1).abs(), (0, 0, 0, 1))
    red = frames[:, 0] - frames[:, 2]
    warm = (red - blurred(red[:, None], 7)[:, 0]).clamp(min=0)
    green = (frames[:, 1] - torch.maximum(frames[:, 0], frames[:, 2])).clamp(min=0)
    change, glow = (fine[1::2] - fine[::2]).abs(), (warm[1::2] - warm[::2]).abs()
    bright, dark = fine.clamp(min=0), (-fine).clamp(min=0)
    means = torch.cat([_by_band(each) for each in (bright, dark, change, warm, glow, green)])
    edges = torch.cat([_by_band(each, 2 * BANDS) for each in (across, down)])
    peaks = torch.cat([_peak(each) for each in (bright, dark, across, down, change, warm, green)])
    return torch.cat((colours, spread, means.sqrt(), edges.sqrt(), peaks))
