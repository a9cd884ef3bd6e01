"""Transitions: new frames between the end of one video and the beginning of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_at_once, check_frames, check_latents, check_num_frames
from ..config import Family, StageConfig
from ..errors import UsageError
from ..job import Callback, Job, seeded_generators
from ..knobs import documented
from ..sampling import Known, denoise
from ..sampling.conditioning import mask_condition
from ..stages import MASK, PLAIN
from ..video import check_frame_rate
from .output import VideoOutput
from .resize import resized_frames
from .stage import Stage, StagePipeline, padded_video


class TransitionPipeline(StagePipeline):
    """Joins two videos with new frames between them.

    A UNet in the mask form (SEINE) sees the frames on both sides. Families without one use the base and put the frames
    on both sides in place at every denoising step (as in RePaint, Lugmayr et al. 2022).
    """

    settings_of = "extension"  # the videos set frames and size

    @classmethod
    def _loaded(cls, family: Family, *where: Any) -> Stage:
        if family.extension is not None:
            extension = Stage.load("extension", family, *where)
            if extension.unet.config.in_channels == MASK:
                return extension
        return Stage.load("base", family, *where)

    @documented(StageConfig, "extension")
    def __call__(
        self,
        prompt: str,
        first: np.ndarray,
        second: np.ndarray,
        num_frames: int = 8,
        context_frames: int = 4,
        seed: int = 0,
        fps: float | None = None,
        resize: str = "refuse",
        callback: Callback | None = None,
        **settings: Any,
    ) -> VideoOutput:
        """The whole video: the first one, `num_frames` new frames, the second; both uint8 [F, height, width, 3].

        Args:
            prompt: what the new frames show.
            context_frames: how many frames on each side the new ones must fit, if a video has that many.
            fps: of the first video, and so of the whole; by default the model's own.
            resize: what to do if the second video differs in size from the first: "refuse", "crop" or "stretch"; see
                `resized`.

        Raises:
            UsageError: the videos differ in size, or a setting cannot work.
        """
        check_frame_rate(fps)
        first, second = _sides(first, second, resize)
        if context_frames < 1:
            raise UsageError(f"The context must be 1 frame or more, not {context_frames}.")
        config = self.configured(**settings)
        generators = seeded_generators([seed])
        height, width = first.shape[1:3]
        ends = [padded_video(side, self.stage.device) for side in (first[-context_frames:], second[:context_frames])]
        frames = num_frames + sum(end.shape[2] for end in ends)
        plan = self.planned(config, frames, height, width, encodes=True)
        before, after = (self.stage.encode(end, plan, generator=generators[0]) for end in ends)
        grey = self.stage.grey_latents(height, width)
        text = self.stage.embed([prompt], config.negative_prompt)
        job = self.job(text, plan, generators, callback)
        shown = slice(len(first) - before.shape[2], len(first) + num_frames + after.shape[2])
        job = job.part(len(first) + num_frames + len(second), shown)
        latents = sample_transition(job, before, after, num_frames, grey)
        made = self.stage.decode(latents, plan, callback)[0, :, :height, :width]
        more = {"num_frames": num_frames, "context_frames": context_frames, "resize": resize, **plan.vae_metadata}
        described = self.described(config, prompt, seed, **more)
        return VideoOutput(np.concatenate((first, made, second)), fps or config.fps, described)


def _sides(first: np.ndarray, second: np.ndarray, resize: str) -> tuple[np.ndarray, np.ndarray]:
    """Both videos in one size."""
    first, second = (check_frames(frames, minimum=1) for frames in (first, second))
    second = resized_frames(second, first.shape[1:3], resize)
    if first.shape[1:] != second.shape[1:]:
        sizes = " and ".join("×".join(map(str, frames.shape[1:3])) for frames in (first, second))
        raise UsageError(f"The two videos differ in size ({sizes} pixels). Set resize to crop or stretch.")
    return first, second


def sample_transition(job: Job, before: Tensor, after: Tensor, num_frames: int, grey: Tensor | None = None) -> Tensor:
    """Scaled latents [1, 4, num_frames, h, w] of what lies between `before` and `after`, each [1, 4, F, h, w].

    Args:
        job: of the base, or of an extension stage in the mask form, which needs `grey`.
        grey: scaled latents [1, 4, 1, h, w] of mid-grey.

    Raises:
        UsageError: a setting that cannot work, or a UNet that cannot see both sides.
    """
    for side in (before, after):
        check_latents(side, 1)
    check_num_frames(num_frames)
    check_num_frames(num_frames + before.shape[2] + after.shape[2])
    check_at_once(job.unet, num_frames, before.shape[3], before.shape[4], "Make a shorter transition.")
    channels, start, stop = job.unet.config.in_channels, before.shape[2], before.shape[2] + num_frames
    if channels not in (PLAIN, MASK) or (channels == MASK and grey is None):
        raise UsageError(f"A UNet of {channels} input channels cannot be shown both sides of a transition.")
    job = job.over(stop + after.shape[2])
    noise = job.noise((4, stop + after.shape[2], *before.shape[3:]))
    given = torch.cat((before.to(noise), torch.zeros_like(noise[:, :, start:stop]), after.to(noise)), dim=2)
    place = torch.arange(noise.shape[2], device=noise.device)
    missing = (place >= start) & (place < stop)
    condition = mask_condition(given, missing, grey.to(noise)) if channels == MASK and grey is not None else None
    known = Known(given, missing.float()[None, None, :, None, None]) if channels == PLAIN else None
    schedule = job.schedule()
    _, after_step = job.progress("transition", len(schedule))
    latents = denoise(job.predictor(condition=condition), noise, schedule, job.generators, after_step, known=known)
    return latents[:, :, start:stop]
