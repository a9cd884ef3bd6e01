"""The clips that a long video is made of: checks, shapes and frame ranges."""

from __future__ import annotations

import torch
from torch import Tensor

from ..checks import check_num_frames, check_size
from ..config import StageConfig
from ..job import Job
from ..stages import VAE_FACTOR


def checked(job: Job, num_frames: int) -> Job:
    """The job for a video of that many frames.

    Raises:
        UsageError: an impossible number of frames, size or number of texts.
    """
    check_num_frames(num_frames)
    check_size(job.config.height, job.config.width)
    return job.over(num_frames)


def clip_shape(config: StageConfig, num_frames: int) -> tuple[int, int, int, int]:
    """Channels, frames, height and width of the latents of a clip in the size that is set."""
    return (4, num_frames, config.height // VAE_FACTOR, config.width // VAE_FACTOR)


def clamped(start: int, stop: int, num_frames: int) -> Tensor:
    """Indices from start to stop, clamped to the first and last frame of the video: int64 [stop − start]."""
    return torch.arange(start, stop).clamp(0, num_frames - 1)
