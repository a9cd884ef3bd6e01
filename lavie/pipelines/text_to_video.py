"""Stage 1: text to a short clip."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..config import StageConfig
from ..sampling import create_schedule, denoise, draw_noise, guided
from .output import Callback, VideoOutput
from .request import check_num_frames, check_size
from .stage import StagePipeline, checked_seeds


class TextToVideoPipeline(StagePipeline):
    """A prompt becomes a clip: 16 frames at 8 frames a second with LaVie's own settings.

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
        callback: Callback | None = None,
    ) -> list[VideoOutput]:
        """One clip per prompt and seed, sampled as one batch; None takes the model's own setting.

        Args:
            num_frames: 1 or more. height, width: pixels, divisible by 8.
            guidance_scale: how strongly the prompt is followed; 1 ignores the negative prompt.
            scheduler, spacing: see `lavie.sampling.SCHEDULERS` and `SPACINGS`.

        Raises:
            UsageError: a setting that cannot work.
        """
        config = self.stage.settings(
            negative_prompt=negative_prompt,
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
        )
        latents = self._sample(prompts, seeds, config, callback)
        clips = self.stage.decode(latents, "nearest", config.tile, callback)
        return [
            VideoOutput(frames, config.fps, self._metadata(prompt, seed, config))
            for frames, prompt, seed in zip(clips, prompts, seeds, strict=True)
        ]

    def _sample(self, prompts: list[str], seeds: list[int], config: StageConfig, callback: Callback | None) -> Tensor:
        check_num_frames(config.num_frames)
        check_size(config.height, config.width)
        schedule = create_schedule(config.scheduler, config.num_inference_steps, config.spacing, config.prediction_type)
        generators = checked_seeds(seeds)
        text = self.stage.embed(prompts, config.negative_prompt)
        noise = draw_noise((4, config.num_frames, config.height // 8, config.width // 8), generators)
        predict = guided(self.stage.unet, text, config.guidance_scale)
        return denoise(predict, noise.to(self.stage.device), schedule, generators, self.stage.on_step(callback))

    def _metadata(self, prompt: str, seed: int, config: StageConfig) -> dict[str, Any]:
        return {
            "model": self.stage.family.name,
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
        }
