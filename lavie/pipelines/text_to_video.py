"""Stage 1: a clip from a prompt, or a given clip repainted."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..checks import check_frames, check_latents, check_num_frames, check_size
from ..config import StageConfig
from ..errors import UsageError
from ..job import Callback, Job, schedule_of, seeded_generators
from ..knobs import documented
from ..long_video.clips import clip_shape
from ..sampling import Known, denoise
from ..stages import VAE_FACTOR
from ..video import check_frame_rate
from .output import VideoOutput
from .stage import StagePipeline, to_video


class TextToVideoPipeline(StagePipeline):
    """Makes a clip from a prompt: 16 frames at 8 frames per second with LaVie's own settings. Or repaints a given
    video.

    Source: base/pipelines/pipeline_videogen.py.
    """

    stage_name = "base"

    def __call__(self, prompt: str, seed: int = 0, callback: Callback | None = None, **settings: Any) -> VideoOutput:
        """One clip; `settings` as for `generate`."""
        return self.generate([prompt], [seed], callback=callback, **settings)[0]

    @documented(StageConfig, "base")
    def generate(
        self,
        prompts: list[str],
        seeds: list[int],
        video: np.ndarray | None = None,
        fps: float | None = None,
        strength: float = 1.0,
        callback: Callback | None = None,
        **settings: Any,
    ) -> list[VideoOutput]:
        """One clip per prompt and seed, sampled as one batch.

        Args:
            video: uint8 [F, H, W, 3] that every clip starts from. It sets frames, height and width; edges that do not
                fill 8 pixels are cropped.
            fps: of that video, and so of the clips; by default the model's own.
            strength: above 0, at most 1; lower values keep more of the video. 1 uses only its size.
        """
        check_frame_rate(fps)
        video = _start(video, strength, settings)
        if video is not None:
            settings |= dict(zip(("num_frames", "height", "width"), video.shape[:3], strict=True))
        config = self.configured(**settings)
        schedule_of(config, strength)  # refuse impossible values before the video is encoded
        size = (config.num_frames, config.height, config.width)
        plan = self.planned(config, *size, len(prompts), encodes=video is not None)
        initial = None if video is None else self.stage.encode(to_video(video, self.stage.device), plan)
        text = self.stage.embed(prompts, config.negative_prompt)
        job = self.job(text, plan, seeded_generators(seeds), callback)
        clips = self.stage.decode(sample_text_to_video(job, initial, strength), plan, callback)
        more = plan.vae_metadata if video is None else {"strength": strength, **plan.vae_metadata}
        return [
            VideoOutput(frames, fps or config.fps, self.described(config, prompt, seed, **more))
            for frames, prompt, seed in zip(clips, prompts, seeds, strict=True)
        ]


def sample_text_to_video(
    job: Job, initial: Tensor | None = None, strength: float = 1.0, known: Known | None = None
) -> Tensor:
    """Scaled latents [batch, 4, frames, height / 8, width / 8] of one clip per generator, sampled as one batch.

    Args:
        job: of the base stage; frames, height and width are those of its config, or else of `initial` or `known`.
        initial: scaled latents to start from; a lower `strength` keeps more of them. A batch of 1 is for all clips.
        known: parts that the clips keep exactly.

    Raises:
        UsageError: a setting that cannot work, or latents that do not match each other or the clips.
    """
    schedule = job.schedule(strength)
    noise = job.noise(_shape(job, initial, known))
    job = job.over(noise.shape[2])
    if schedule.start and initial is None:
        raise UsageError("A strength (denoise) below 1 needs latents to start from.")
    _, after_step = job.progress("base", len(schedule))
    return denoise(job.predictor(), noise, schedule, job.generators, after_step, initial, known)


def _shape(job: Job, initial: Tensor | None, known: Known | None) -> tuple[int, ...]:
    given = [latents for latents in (initial, known and known.latents) if latents is not None]
    for latents in given:
        check_latents(latents, len(job.generators))
    if len({latents.shape[2:] for latents in given}) > 1:
        raise UsageError("The latents to start from and the latents to keep differ in frames, height or width.")
    if given:
        check_num_frames(given[0].shape[2])
        return (4, *given[0].shape[2:])
    check_num_frames(job.config.num_frames)
    check_size(job.config.height, job.config.width)
    return clip_shape(job.config, job.config.num_frames)


def _start(video: np.ndarray | None, strength: float, settings: dict[str, Any]) -> np.ndarray | None:
    """The video to start from, cropped at the centre to whole latent pixels, as VAE Encode in ComfyUI does."""
    if video is None:
        if strength < 1:
            raise UsageError("A strength below 1 needs a video to start from.")
        return None
    if any(settings.get(name) is not None for name in ("num_frames", "height", "width")):
        raise UsageError("The video to start from sets the number of frames, the height and the width; give no others.")
    video = check_frames(video, minimum=1)
    check_num_frames(len(video))
    height, width = video.shape[1:3]
    top, left = height % VAE_FACTOR // 2, width % VAE_FACTOR // 2
    return video[:, top : top + height // VAE_FACTOR * VAE_FACTOR, left : left + width // VAE_FACTOR * VAE_FACTOR]
