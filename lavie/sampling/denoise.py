"""The one denoising loop of all stages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .guidance import Predict
from .schedulers import Schedule

# (step, total, timestep, x0 estimate [batch, 4, frames, height, width]); raise `Cancelled` in it to stop.
StepCallback = Callable[[int, int, float, Tensor], None]
WHOLE = (slice(None), slice(None), slice(None))


@torch.no_grad()
def denoise(
    predict: Predict,
    noise: Tensor,
    schedule: Schedule,
    generators: list[torch.Generator],
    callback: StepCallback | None = None,
) -> Tensor:
    """From standard normal noise [batch, 4, frames, height, width] to scaled latents of the same shape, float32.

    `callback` is told after every step, counted from 1.
    """
    latents = noise * schedule.init_noise_sigma
    for step, timestep in enumerate(schedule.timesteps):
        model_input = schedule.model_input(latents, step)
        prediction = predict(model_input, timestep, WHOLE)
        latents = schedule.step(prediction, step, latents, generators)
        if callback is not None:
            callback(step + 1, len(schedule), float(timestep), schedule.x0(prediction, step, model_input))
    return latents
