"""FreeLong (Lu et al. 2024): slow changes from attention among all frames, fast ones from attention among near ones."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError
from ..models.attention import Attend, TemporalStrategy
from .frequencies import low_pass, mixed


def spectral_blend(window: int, cutoff: float = 0.25) -> TemporalStrategy:
    """Low temporal frequencies of attention among all frames with the high ones of attention among `window` frames
    around each; a clip of one window attends as ever.

    The official code filters over time and the picture; this filters over time alone, where the two attentions differ.

    cutoff: where the Gaussian filter falls to exp(−1/2), in parts of the highest frequency.

    Raises:
        UsageError: a window or a cutoff that is not positive.
    """
    if window < 1 or cutoff <= 0:
        raise UsageError("The window and the cutoff frequency of FreeLong must be above 0.")

    def strategy(attend: Attend, x: Tensor) -> Tensor:
        frames = x.shape[1]
        if frames <= window:
            return attend(x)
        near = torch.zeros(frames, frames, device=x.device).masked_fill(~_near(frames, window).to(x.device), -torch.inf)
        low = low_pass((frames,), (cutoff,), "gaussian").to(x.device)[:, None, None]
        return mixed(attend(x).float(), attend(x, near).float(), low, dims=(1,)).to(x)

    return strategy


def _near(frames: int, window: int) -> Tensor:
    """Which keys each query sees: bool [frames, frames], `window` in every row, around the query where they can be."""
    start = (torch.arange(frames) - window // 2).clamp(0, frames - window)[:, None]
    key = torch.arange(frames)
    return (key >= start) & (key < start + window)
