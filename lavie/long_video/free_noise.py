"""FreeNoise (Qiu et al. 2024): a long clip in one pass, with a model of short ones.

Noise of one window, repeated in shuffled groups, keeps the scene. Temporal attention in overlapping windows shows every
frame as many others as the model was trained on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..job import Job
from ..models.attention import Attend, TemporalStrategy
from ..sampling import motion_bias, spans
from .clips import clip_shape
from .motion_injection import injected
from .settings import LongVideoSettings


def sample(job: Job, num_frames: int, settings: LongVideoSettings) -> Tensor:
    """All frames in one pass, with temporal attention in windows that share `context_frames`; see `Method.sample`."""
    clip_frames = job.config.clip_frames
    strategy = motion_bias(settings.motion, windowed(clip_frames, settings.context_frames))
    down_text = injected(job.text) if settings.motion_injection else None
    group = clip_frames - settings.context_frames
    return in_one_pass(job, num_frames, group, settings, strategy=strategy, down_text=down_text)


def in_one_pass(job: Job, num_frames: int, group: int, settings: LongVideoSettings, **inputs: Any) -> Tensor:
    """All frames in one call of the network per step, from one clip's noise shuffled in groups.

    Args:
        group: how many frames of noise are shuffled together; see `shuffled_noise`.
        inputs: of `job.predictor`.
    """
    clip_frames, iterations = job.config.clip_frames, settings.free_init_iterations
    noise = job.noise(clip_shape(job.config, min(clip_frames, num_frames)))
    if num_frames > clip_frames:
        noise = shuffled_noise(noise, num_frames, group, job.generators)
    _, after_step = job.progress("base", job.config.num_inference_steps * max(1, iterations))
    return job.denoise(job.predictor(**inputs), noise, after_step, iterations)


def shuffled_noise(noise: Tensor, num_frames: int, group: int, generators: list[torch.Generator]) -> Tensor:
    """[batch, channels, num_frames, height, width]: the window's noise [batch, channels, window, height, width], then
    the same frames again and again, every `group` of them shuffled, differently for each clip.

    So any `window` frames that start at a multiple of `group` are a permutation of the first window, if `group` divides
    it. The paper's local noise shuffling.

    Raises:
        UsageError: groups that are empty or larger than the window.
    """
    window = noise.shape[2]
    if not 1 <= group <= window:
        raise UsageError(f"Groups of noise must be between 1 and {window} frames long, not {group}.")
    orders = [_order(num_frames, window, group, generator) for generator in generators]
    return torch.stack([clip[:, order] for clip, order in zip(noise, orders, strict=True)])


def _order(num_frames: int, window: int, group: int, generator: torch.Generator) -> Tensor:
    """Which frame of the window each frame takes its noise from, int64 [num_frames]."""
    order = torch.arange(window)
    while len(order) < num_frames:
        last = order[len(order) - window :][:group]
        order = torch.cat((order, last[torch.randperm(group, generator=generator)]))
    return order[:num_frames]


def windowed(window: int, overlap: int) -> TemporalStrategy:
    """Temporal attention in windows that share at least `overlap` frames, averaged with more weight near the middle of
    each window; a clip of one window is unchanged. The paper's window-based attention fusion.

    Raises:
        UsageError: an overlap that leaves no progress.
    """
    spans(window + 1, window, overlap)  # refuses impossible values before any step

    def strategy(attend: Attend, x: Tensor) -> Tensor:
        windows = spans(x.shape[1], window, overlap)
        if len(windows) == 1:
            return attend(x)
        weight = _triangle(window).to(x)[:, None, None]
        total, weights = torch.zeros_like(x), x.new_zeros(x.shape[1], 1, 1)
        for frames in windows:
            total[:, frames] += weight * attend(x[:, frames])
            weights[frames] += weight
        return total / weights

    return strategy


def _triangle(length: int) -> Tensor:
    """1, 2, …, 2, 1, divided by the largest."""
    position = torch.arange(length)
    weight = torch.minimum(position + 1, length - position).float()
    return weight / weight.max()
