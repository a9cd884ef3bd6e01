"""The extension stage: continues a clip from its last frames, as often as asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_frames, check_num_frames
from ..config import StageConfig
from ..errors import UsageError
from ..job import Callback, Job, seeded_generators
from ..knobs import documented
from ..long_video import METHODS
from ..long_video.conditioned import continued, new_frames
from .output import VideoOutput
from .stage import StagePipeline, padded_video

METHOD = METHODS["conditioned"]


class ExtensionPipeline(StagePipeline):
    """Continues a clip: every recursion makes a clip that starts with the last frame of the one before.

    A UNet with 8 input channels sees that frame at every step (section 5.6 of the paper), one with 9 the last few
    frames and a mask (SEINE). The given frames are returned unchanged, and the network's own version of them is
    dropped.
    """

    stage_name = "extension"

    def __call__(
        self, prompt: str, frames: np.ndarray, seed: int = 0, callback: Callback | None = None, **settings: Any
    ) -> VideoOutput:
        """One clip, uint8 [F, height, width, 3], and what follows; `settings` as for `generate`."""
        return self.generate([prompt], [frames], [seed], callback=callback, **settings)[0]

    @documented(StageConfig, "extension")
    def generate(
        self,
        prompts: list[str],
        videos: Sequence[np.ndarray],
        seeds: list[int],
        num_frames: int | None = None,
        recursions: int | None = None,
        callback: Callback | None = None,
        **settings: Any,
    ) -> list[VideoOutput]:
        """Extend one video, uint8 [F, height, width, 3], per prompt and seed, all of one size, as one batch.

        Args:
            num_frames: how many frames to add; or
            recursions: how many clips to add, each as long as the model's window minus the context frames (default: 1).
            settings: of the stage and of the method "conditioned" in `lavie.long_video`.
        """
        if not len(prompts) == len(videos) == len(seeds):
            raise UsageError(f"{len(prompts)} prompts, {len(videos)} videos and {len(seeds)} seeds do not pair up.")
        own = {name: settings.pop(name) for name in (*METHOD.has, "motion") if name in settings}
        config = self.configured(**settings)
        how = METHOD.settings(config.clip_frames, **own)
        videos = [check_frames(video, minimum=1) for video in videos]
        num_frames = _num_frames(num_frames, recursions, new_frames(how.context_frames, config.clip_frames))
        generators = seeded_generators(seeds)
        height, width = videos[0].shape[1:3]
        plan = self.planned(config, config.clip_frames, height, width, len(videos))
        text = self.stage.embed(prompts, config.negative_prompt)
        context = self._encoded(videos, how.context_frames, generators)
        still = self._encoded([video[:1] for video in videos], 1, generators) if how.anchor else None
        grey = self.stage.grey_latents(height, width)
        job = self._over_new_frames(self.job(text, plan, generators, callback), videos, num_frames, how.context_frames)
        latents = continued(job, context, num_frames, how, grey, still)
        added = self.stage.decode(latents, plan, callback)[:, :, :height, :width]
        more = {"num_frames": num_frames, **METHOD.described(how), **plan.vae_metadata}
        return [
            VideoOutput(np.concatenate((video, clip)), config.fps, self.described(config, prompt, seed, **more))
            for video, clip, prompt, seed in zip(videos, added, prompts, seeds, strict=True)
        ]

    def _over_new_frames(self, job: Job, videos: list[np.ndarray], num_frames: int, context: int) -> Job:
        """The job, whose controls are for the whole videos, for the frames that the network sees."""
        if not job.text.controls:
            return job
        if len({len(video) for video in videos}) > 1:
            raise UsageError("The videos differ in length, so that no control fits them all: extend them one by one.")
        given = len(videos[0])
        return job.part(given + num_frames, slice(given - context, None))

    def _encoded(self, videos: list[np.ndarray], context_frames: int, generators: list[torch.Generator]) -> Tensor:
        """Scaled latents [batch, 4, context_frames, h, w] of the last frames."""
        if len({video.shape[1:3] for video in videos}) > 1:
            raise UsageError("The videos differ in size: extend them one by one.")
        if min(len(video) for video in videos) < context_frames:
            raise UsageError(f"The context is {context_frames} frames, but a video has fewer.")
        ends = [padded_video(video[-context_frames:], self.stage.device) for video in videos]
        return torch.cat([self.stage.encode(end, generator=each) for end, each in zip(ends, generators, strict=True)])


def _num_frames(num_frames: int | None, recursions: int | None, per_recursion: int) -> int:
    if num_frames is not None and recursions is not None:
        raise UsageError("Give the number of frames or the number of recursions, not both.")
    if num_frames is None:
        num_frames = per_recursion * (1 if recursions is None else recursions)
    check_num_frames(num_frames)
    return num_frames
