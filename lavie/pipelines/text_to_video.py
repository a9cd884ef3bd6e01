"""Stage 1: text to a short clip, or a clip repainted as the text says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..sampling import Known, TextCondition, denoise
from ..speed import Speed
from .output import Callback, VideoOutput
from .request import check_frames, check_latents, check_num_frames, check_size, check_texts
from .sample import checked_seeds, counted, guided_by, schedule_of, stored_noise
from .stage import StagePipeline, to_video

SCALE = 8  # pixels per latent pixel along an edge


class TextToVideoPipeline(StagePipeline):
    """A prompt becomes a clip: 16 frames at 8 frames a second with LaVie's own settings. A video to start from is
    repainted instead.

    Source: base/pipelines/pipeline_videogen.py.
    """

    stage_name = "base"

    def __call__(self, prompt: str, seed: int = 0, callback: Callback | None = None, **settings: Any) -> VideoOutput:
        """One clip; `settings` as for `generate`."""
        return self.generate([prompt], [seed], callback=callback, **settings)[0]

    def generate(
        self,
        prompts: list[str],
        seeds: list[int],
        negative_prompt: str | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        scheduler: str | None = None,
        spacing: str | None = None,
        video: np.ndarray | None = None,
        strength: float = 1.0,
        speed: str | Speed = "exact",
        callback: Callback | None = None,
    ) -> list[VideoOutput]:
        """One clip per prompt and seed, sampled as one batch; None takes the model's own setting.

        Args:
            num_frames: 1 or more. height, width: pixels, divisible by 8.
            guidance_scale: how strongly the prompt is followed; 1 ignores the negative prompt.
            scheduler, spacing: see `lavie.sampling.SCHEDULERS` and `SPACINGS`.
            video: uint8 [F, H, W, 3] that every clip starts from and that sets frames, height and width; edges that
                do not fill 8 pixels are cropped. The clips have the model's own frame rate.
            strength: above 0, at most 1; the smaller, the more of the video is kept. 1 takes only its size.
            speed: a preset of `lavie.speed.SPEEDS`, or one's own; see docs/performance.md.

        Raises:
            UsageError: a setting that cannot work.
        """
        video = _start(video, strength, num_frames, height, width)
        if video is not None:
            num_frames, height, width = video.shape[:3]
        config = self.stage.config.at_speed(self.stage.name, speed).replaced(
            negative_prompt=negative_prompt,
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
        )
        schedule_of(config, strength)  # refuses what cannot work before the video is encoded
        latents = (config.num_frames, config.height // SCALE, config.width // SCALE)
        plan = self.within_memory(config, latents, len(prompts), encodes=video is not None)
        initial = None if video is None else self.stage.encode(to_video(video, self.stage.device), plan)
        text = self.stage.embed(prompts, config.negative_prompt)
        self.stage.bring("unet")
        latents = sample_text_to_video(
            self.stage.unet,
            text,
            config,
            seeds,
            device=self.stage.device,
            initial=initial,
            strength=strength,
            split=plan.means.split,
            callback=callback,
        )
        clips = self.stage.decode(latents, "nearest", plan.vae_tile, callback, frames_per_batch=plan.vae_frames)
        repainted = plan.vae_metadata if video is None else {"strength": strength, **plan.vae_metadata}
        return [
            VideoOutput(frames, config.fps, {**self._metadata(prompt, seed, config), **repainted})
            for frames, prompt, seed in zip(clips, prompts, seeds, strict=True)
        ]

    def _metadata(self, prompt: str, seed: int, config: StageConfig) -> dict[str, Any]:
        return {
            **self.origin(),
            "prompt": prompt,
            "negative_prompt": config.negative_prompt,
            "seed": seed,
            "num_frames": config.num_frames,
            "height": config.height,
            "width": config.width,
            "num_inference_steps": config.num_inference_steps,
            "guidance_scale": config.guidance_scale,
            "scheduler": config.scheduler,
            "spacing": config.spacing,
            "speed": config.speed.metadata(),
        }


def sample_text_to_video(
    unet: VideoUNet,
    text: TextCondition,
    config: StageConfig,
    seeds: Sequence[int],
    *,
    device: torch.device,
    initial: Tensor | None = None,
    strength: float = 1.0,
    known: Known | None = None,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Scaled latents [len(seeds), 4, frames, height / 8, width / 8] of one clip per seed, sampled as one batch.

    Args:
        text: of one prompt for all clips, or of one for each; for all frames, or for each.
        config: frames, height and width are taken from it, or else from `initial` or `known`.
        initial: scaled latents that a `strength` below 1 keeps the more of the smaller it is; a batch of 1 is for all.
        known: parts that the clips keep, exactly.
        split: evaluate the two halves of the guidance in turn; see `guided`.

    Raises:
        UsageError: a setting that cannot work, or latents that do not fit each other or the seeds.
    """
    schedule = schedule_of(config, strength)
    generators = checked_seeds(seeds)
    noise = stored_noise(_shape(config, len(seeds), initial, known), generators, device)
    check_texts(text.frames, noise.shape[2])
    if schedule.start and initial is None:
        raise UsageError("A strength (denoise) below 1 needs latents to start from.")
    predict = guided_by(config, unet, text, split=split, device=device)
    _, after_step = counted(callback, "base", len(schedule))
    return denoise(predict, noise, schedule, generators, after_step, initial, known)


def _shape(config: StageConfig, batch: int, initial: Tensor | None, known: Known | None) -> tuple[int, ...]:
    given = [latents for latents in (initial, known and known.latents) if latents is not None]
    for latents in given:
        check_latents(latents, batch)
    if len({latents.shape[2:] for latents in given}) > 1:
        raise UsageError("The latents to start from and the latents to keep differ in frames, height or width.")
    if given:
        check_num_frames(given[0].shape[2])
        return (4, *given[0].shape[2:])
    check_num_frames(config.num_frames)
    check_size(config.height, config.width)
    return (4, config.num_frames, config.height // SCALE, config.width // SCALE)


def _start(video: np.ndarray | None, strength: float, *size: int | None) -> np.ndarray | None:
    """The video to start from: its middle in whole latent pixels, as VAE Encode in ComfyUI takes it."""
    if video is None:
        if strength < 1:
            raise UsageError("A strength below 1 needs a video to start from.")
        return None
    if any(given is not None for given in size):
        raise UsageError("The video to start from sets the number of frames, the height and the width; give no others.")
    video = check_frames(video, least=1)
    check_num_frames(len(video))
    height, width = video.shape[1:3]
    top, left = height % SCALE // 2, width % SCALE // 2
    return video[:, top : top + height // SCALE * SCALE, left : left + width // SCALE * SCALE]
