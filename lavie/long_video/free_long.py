"""FreeLong (Lu et al. 2024): slow changes from attention among all frames, fast ones from attention among near ones."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError
from ..job import Job
from ..models.attention import Attend, TemporalStrategy
from ..sampling import motion_bias
from ..sampling.frequencies import low_pass, mixed
from .free_noise import in_one_pass
from .settings import LongVideoSettings


def sample(job: Job, num_frames: int, settings: LongVideoSettings) -> Tensor:
    """All frames in one pass, with attention among all frames for slow changes; see `Method.sample`.

    The noise is that of FreeNoise in groups of a quarter of a window, as in the official code.
    """
    clip_frames = job.config.clip_frames
    strategy = motion_bias(settings.motion, spectral_blend(clip_frames))
    return in_one_pass(job, num_frames, max(1, clip_frames // 4), settings, strategy=strategy)


def spectral_blend(window: int, cutoff: float = 0.25) -> TemporalStrategy:
    """Low temporal frequencies of attention among all frames with the high ones of attention among `window` frames
    around each; a clip of one window is unchanged.

    The official code filters over time and space; this filters over time alone, where the two attentions differ.

    cutoff: where the Gaussian filter falls to exp(−1/2), as a share of the highest frequency.

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
    """Which keys each query sees: bool [frames, frames], `window` in every row, centred on the query where possible."""
    start = (torch.arange(frames) - window // 2).clamp(0, frames - window)[:, None]
    key = torch.arange(frames)
    return (key >= start) & (key < start + window)
