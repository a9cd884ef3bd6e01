"""The one denoising loop of all stages."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import UsageError
from .anchor import Anchor
from .guidance import Predict
from .noise import draw_noise
from .schedule import Schedule

# (step, total, timestep, x0 estimate [batch, 4, frames, height, width]); raise `Cancelled` in it to stop.
StepCallback = Callable[[int, int, float, Tensor], None]
WHOLE = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Known:
    """What a clip must keep.

    latents: scaled, [batch, 4, frames, height, width], float32; only the known parts matter, and must be finite.
    mask: broadcasts to them with one channel, 1 where the clip is made, 0 where it is known; values in between mix the
    two. resample: how many times every step is taken, with its noise put back in between (RePaint's resampling with a
    jump length of 1). The more, the better the rest fits the known parts.
    released: 0…1, the share of the steps, at the end, in which known parts are no longer restored. Above 0, they are
    returned as the network changed them, and the rest fits that version; see `without_seam`.

    Raises:
        UsageError: a mask that does not fit, resample not positive, or released outside 0…1.
    """

    latents: Tensor
    mask: Tensor
    resample: int = 1
    released: float = 0.0

    def __post_init__(self) -> None:
        if self.resample < 1:
            raise UsageError(f"Every step must be done once or more often, not {self.resample} times.")
        if not 0 <= self.released <= 1:
            raise UsageError(f"Known parts go free for a share of 0 to 1 of the steps, not {self.released:g}.")
        fits = zip(self.mask.shape[1:], (1, *self.latents.shape[2:]), strict=False)
        if self.mask.ndim != 5 or any(size not in (1, whole) for size, whole in fits):
            raise UsageError(f"A mask of {list(self.mask.shape)} does not fit latents of {list(self.latents.shape)}.")

    @classmethod
    def from_mask(cls, latents: Tensor, mask: Tensor) -> Known:
        """From a mask over pixels, [height, width] or [frames, height, width] with any number of channels between,
        of any size: 1 where to make, 0 where to keep. One frame stands for all.

        Raises:
            UsageError: it has another number of frames than the latents.
        """
        frames, height, width = latents.shape[2:]
        mask = mask.reshape(-1, 1, *mask.shape[-2:]).float()
        if len(mask) not in (1, frames):
            raise UsageError(f"The mask has {len(mask)} frames, the video {frames}. Give one for all, or one for each.")
        return cls(latents, interpolate(mask, (height, width), mode="area").transpose(0, 1)[None])

    def like(self, latents: Tensor) -> Known:
        """The same on the device and in the precision of `latents`."""
        return replace(self, latents=self.latents.to(latents), mask=self.mask.to(latents))

    def restored(self, made: Tensor, latents: Tensor | None = None) -> Tensor:
        """`made` with the known parts from `latents` (by default the clean ones), exactly where the mask is 0 or 1."""
        return torch.lerp(self.latents if latents is None else latents, made, self.mask)


@torch.no_grad()
def denoise(
    predict: Predict,
    noise: Tensor,
    schedule: Schedule,
    generators: list[torch.Generator],
    callback: StepCallback | None = None,
    initial: Tensor | None = None,
    known: Known | None = None,
    anchor: Anchor | None = None,
) -> Tensor:
    """From standard normal noise [batch, 4, frames, height, width] to scaled latents of the same shape, float32.

    Args:
        callback: called after every evaluation of the network, counted from 1.
        initial: scaled latents that a schedule with strength below 1 starts from, noised to its first timestep;
            one of full strength starts from noise alone.
        known: parts to keep. Before every prediction they are replaced by themselves with `noise` of that step
            (as in RePaint, Lugmayr et al. 2022), so that the rest is made to fit.
        anchor: a frame whose low frequencies the clip starts with; see `Anchor`.
    """
    if not schedule.start:
        latents = noise * schedule.init_noise_sigma
    elif initial is not None:
        latents = schedule.noised(initial.to(noise), noise, 0)
    else:
        raise ValueError("a schedule that starts in the middle needs initial latents")
    known = known and known.like(noise)
    repeats, released = (1, 0.0) if known is None else (known.resample, known.released)
    held = len(schedule) - round(released * len(schedule))
    for evaluation in range(len(schedule) * repeats):
        step, again = evaluation // repeats, (evaluation + 1) % repeats > 0
        timestep = schedule.timesteps[step]
        if anchor is not None:
            latents = anchor.applied(latents, noise, schedule, step)
        if known is not None and step < held:
            latents = known.restored(latents, schedule.noised(known.latents, noise, step))
        model_input = schedule.model_input(latents, step)
        prediction = predict(model_input, timestep, WHOLE)
        # Schedulers remember earlier steps, so to go back we step with a copy.
        latents = (deepcopy(schedule) if again else schedule).step(prediction, step, latents, generators)
        if again:
            latents = schedule.renoised(latents, draw_noise(latents.shape[1:], generators).to(latents), step)
        if callback is not None:
            x0, total = schedule.x0(prediction, step, model_input), len(schedule) * repeats
            callback(evaluation + 1, total, float(timestep), x0 if known is None else known.restored(x0))
    return latents if known is None or released else known.restored(latents)
