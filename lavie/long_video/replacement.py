"""Clip after clip with the base alone: the last frames of one are put in place at every step of the next."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_latents, check_num_frames
from ..errors import UsageError
from ..job import Job
from ..knobs import check_knobs
from ..sampling import Anchor, Known, StepCallback, matched_statistics, motion_bias
from ..sampling.guidance import Predict
from ..sampling.seam import RELEASED, without_seam
from .clips import clip_shape
from .settings import LongVideoSettings


def sample(job: Job, num_frames: int, settings: LongVideoSettings) -> Tensor:
    """A clip and its continuation by `continued`; see `Method.sample`."""
    check_knobs(settings)
    length, iterations = job.config.clip_frames, settings.free_init_iterations
    more = max(0, num_frames - length)
    rounds = continuation_rounds(length, more, settings.context_frames, length) if more else []
    total = job.config.num_inference_steps * (1 + len(rounds) * settings.resample) * max(1, iterations)
    _, after_step = job.progress("base", total)
    continuation = _Continuation(job, settings, after_step, iterations)
    noise = job.noise(clip_shape(job.config, min(length, num_frames)))
    clip = job.denoise(continuation.predict(0, noise.shape[2]), noise, after_step, iterations)
    return continuation.of(clip, rounds)


def continued(job: Job, latents: Tensor, num_frames: int, settings: LongVideoSettings) -> Tensor:
    """The base model makes its usual clip, of which the first frames are known (see `Known`).

    If more frames are wanted than fit in one clip, the last new ones are known to the next clip. In the last steps the
    known frames are no longer put back; how they change shows by how much the new ones are off (see `without_seam`).
    See `Method.continued`.
    """
    check_latents(latents, len(latents))
    check_knobs(settings)
    given = latents.shape[2]
    check_num_frames(num_frames)
    check_num_frames(given + num_frames)
    job = job.over(given + num_frames)
    rounds = continuation_rounds(given, num_frames, settings.context_frames, job.config.clip_frames)
    total = len(rounds) * job.config.num_inference_steps * settings.resample
    _, after_step = job.progress("extension", total)
    return _Continuation(job, settings, after_step).of(latents, rounds)[:, :, given:]


def continuation_rounds(given: int, num_frames: int, context_frames: int, clip_frames: int) -> list[tuple[int, int]]:
    """(known, new) frames of every clip that the model makes; a last clip that adds few frames knows more of them.

    So all clips have the length that the model was trained on, unless a single shorter one is enough.
    """
    if not 1 <= context_frames < clip_frames:
        raise UsageError(f"The context must be between 1 and {clip_frames - 1} frames, not {context_frames}.")
    if context_frames > given:
        raise UsageError(f"The context is {context_frames} frames, but the clip has only {given}.")
    most = clip_frames - context_frames
    rounds = [(context_frames, most)] * (num_frames // most)
    left = num_frames % most
    if left:
        rounds.append((clip_frames - left if rounds else context_frames, left))
    return rounds


@dataclass(frozen=True)
class _Continuation:
    """How clips go on; `iterations`: of FreeInit."""

    job: Job
    settings: LongVideoSettings
    after_step: StepCallback | None
    iterations: int = 1

    def predict(self, start: int, stop: int) -> Predict:
        """The network for a clip of these frames of the video."""
        text = self.job.text.at(slice(start, stop))
        return self.job.predictor(text, strategy=motion_bias(self.settings.motion))

    def of(self, latents: Tensor, rounds: list[tuple[int, int]]) -> Tensor:
        """The latents [batch, 4, F, h, w] followed by the frames of all rounds."""
        settings = self.settings
        first = latents[:, :, : self.job.config.clip_frames]
        anchor = Anchor(latents[:, :, :1], settings.anchor)
        for context, new in rounds:
            start, known = latents.shape[2] - context, latents[:, :, -context:]
            noise = self.job.noise((4, context + new, *latents.shape[3:]))
            predict = self.predict(start, start + context + new)
            options = {"known": self._known(known, new), "anchor": anchor}
            made = self.job.denoise(predict, noise, self.after_step, self.iterations, **options)
            made = without_seam(made, known, settings.seam_frames)
            made = matched_statistics(made[:, :, context:].to(latents), first, settings.drift_correction)
            latents = torch.cat((latents, made), dim=2)
        return latents

    def _known(self, latents: Tensor, new: int) -> Known:
        """The latents followed by `new` frames to be made."""
        batch, channels, context, height, width = latents.shape
        to_be_made = latents.new_zeros(batch, channels, new, height, width)
        mask = (torch.arange(context + new, device=latents.device) >= context).float()
        released = RELEASED if self.settings.seam_frames else 0.0
        whole = torch.cat((latents, to_be_made), dim=2)
        return Known(whole, mask[None, None, :, None, None], self.settings.resample, released)
