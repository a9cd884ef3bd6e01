"""Separate clips with hard cuts between them: the baseline for the other methods."""

from __future__ import annotations

import torch
from torch import Tensor

from ..job import Job
from ..sampling import motion_bias
from .clips import clamped, clip_shape
from .settings import LongVideoSettings


def sample(job: Job, num_frames: int, settings: LongVideoSettings) -> Tensor:
    """See `Method.sample`."""
    length, iterations = min(job.config.clip_frames, num_frames), settings.free_init_iterations
    starts = range(0, num_frames, length)
    _, after_step = job.progress("base", job.config.num_inference_steps * len(starts) * max(1, iterations))
    strategy, clips = motion_bias(settings.motion), []
    for start in starts:
        predict = job.predictor(job.text.at(clamped(start, start + length, num_frames)), strategy=strategy)
        clips.append(job.denoise(predict, job.noise(clip_shape(job.config, length)), after_step, iterations))
    return torch.cat(clips, dim=2)[:, :, :num_frames]
