"""What sampling has in common in all stages: the schedule, noise in its place, progress."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from torch import Tensor

from ..config import StageConfig
from ..models import VideoUNet
from ..runtime import storage_device
from ..sampling import (
    Anchor,
    Known,
    StepCallback,
    TextCondition,
    create_schedule,
    denoise,
    draw_noise,
    free_init,
    guided,
    seeded,
)
from ..sampling.guidance import Predict
from ..sampling.schedulers import Schedule
from .output import Callback
from .request import check_seed

WindowCallback = Callable[[float], None]


def checked_seeds(seeds: list[int]) -> list[torch.Generator]:
    """One CPU generator per clip."""
    for seed in seeds:
        check_seed(seed)
    return [seeded(seed) for seed in seeds]


def schedule_of(config: StageConfig, strength: float = 1.0) -> Schedule:
    """A fresh schedule with a stage's settings."""
    steps, prediction = config.num_inference_steps, config.prediction_type
    return create_schedule(config.scheduler, steps, config.spacing, prediction, strength)


def guided_by(config: StageConfig, unet: VideoUNet, text: TextCondition, *args: Any, **options: Any) -> Predict:
    """`guided` with a stage's scale and speed; args, options: what comes after the scale there."""
    return guided(unet, text, config.guidance_scale, *args, speed=config.speed, **options)


def stored_noise(shape: tuple[int, ...], generators: list[torch.Generator], device: torch.device) -> Tensor:
    """`draw_noise` on `device`, or in main memory where it is that of a very long clip."""
    return stored(draw_noise(shape, generators), device)


def stored(noise: Tensor, device: torch.device) -> Tensor:
    """Noise of a clip on `device`, or in main memory where the clip is very long."""
    return noise.to(storage_device(noise.numel(), device))


def denoised(
    predict: Predict,
    noise: Tensor,
    config: StageConfig,
    generators: list[torch.Generator],
    callback: StepCallback | None,
    known: Known | None = None,
    resample: int = 1,
    iterations: int = 1,
    anchor: Anchor | None = None,
    release: float = 0.0,
) -> Tensor:
    """`denoise` with a stage's schedule, and again from refined noise, `iterations` times in all; see `free_init`."""

    def sample(noise: Tensor) -> Tensor:
        schedule = schedule_of(config)
        return denoise(predict, noise, schedule, generators, callback, None, known, resample, anchor, release)

    return free_init(sample, noise, generators, iterations)


def counted(callback: Callback | None, stage: str, total: int) -> tuple[WindowCallback | None, StepCallback | None]:
    """What to do after a window inside a step and after a whole step: tell how many of `total` evaluations are done."""
    if callback is None:
        return None, None
    done = count(1)

    def after_window(timestep: float) -> None:
        callback(stage, next(done), total, timestep, None)

    def after_step(step: int, steps: int, timestep: float, x0: Tensor) -> None:
        callback(stage, next(done), total, timestep, x0)

    return after_window, after_step
