"""Stage 2: temporal interpolation, four times the frame rate."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..config import StageConfig
from ..models.latents import encode_video
from ..sampling import blended, create_schedule, denoise, draw_noise, guided, regions, spans
from ..sampling.conditioning import key_frame_of
from .output import Callback, VideoOutput
from .request import check_frames
from .stage import StagePipeline, checked_seeds, to_video

FACTOR = 4


class InterpolationPipeline(StagePipeline):
    """F frames become 4F − 3 over the same duration; every output frame is synthesised anew.

    Longer clips than the model's window are denoised in overlapped windows that share noise and are blended at
    every step; each starts on a key frame, which the model's sparse-causal attention looks back to.
    Source: interpolation/sample.py, auto_inpainting_copy_no_mask.
    """

    stage_name = "interpolation"

    def __call__(
        self,
        frames: np.ndarray,
        prompt: str = "",
        fps: float = 8,
        seed: int = 0,
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        scheduler: str | None = None,
        spacing: str | None = None,
        window: int | None = None,
        overlap: int | None = None,
        callback: Callback | None = None,
    ) -> VideoOutput:
        """Interpolate uint8 frames [F, height, width, 3], F ≥ 2; None takes the model's own setting.

        Args:
            fps: of the input; the output has the model's own rate relative to it (LaVie: three times, 8 → 24).
            window, overlap: key frames per window, and shared by neighbours.

        Raises:
            UsageError: fewer than two frames, or a setting that cannot work.
        """
        frames = check_frames(frames, least=2)
        config = self.stage.settings(
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
            window=window,
            overlap=overlap,
        )
        height, width = frames.shape[1:3]
        latents = self._sample(_padded(frames, self.stage.device), prompt, seed, config, callback)
        result = self.stage.decode(latents, "nearest", config.tile, callback)[0, :, :height, :width]
        metadata = {
            "model": self.stage.family.name,
            "prompt": prompt,
            "seed": seed,
            "num_inference_steps": config.num_inference_steps,
            "guidance_scale": config.guidance_scale,
            "scheduler": config.scheduler,
            "spacing": config.spacing,
            "window": config.window,
            "overlap": config.overlap,
        }
        return VideoOutput(result, fps * config.fps / 8, metadata)

    def _sample(self, video: Tensor, prompt: str, seed: int, config: StageConfig, callback: Callback | None) -> Tensor:
        schedule = create_schedule(config.scheduler, config.num_inference_steps, config.spacing, config.prediction_type)
        generators = checked_seeds([seed])
        windows = key_frame_windows(video.shape[2], config.window, config.overlap)
        keys = encode_video(self.stage.vae, video, generator=generators[0])
        num_frames = FACTOR * (video.shape[2] - 1) + 1
        condition = keys[:, :, key_frame_of(num_frames).to(keys.device)]
        noise = draw_noise((4, num_frames, *keys.shape[3:]), generators).to(self.stage.device)
        text = self.stage.embed([prompt], config.negative_prompt)
        predict = guided(self.stage.unet, text, config.guidance_scale, condition)
        parts = regions(noise.shape[2:], windows)
        predict = blended(predict, parts, (FACTOR * (config.overlap - 1) + 1, 0))
        return denoise(predict, noise, schedule, generators, self.stage.on_step(callback))


def key_frame_windows(num_key_frames: int, window: int, overlap: int) -> list[slice]:
    """Windows of output frames, each from one key frame to another."""
    keys = spans(num_key_frames, window or num_key_frames, overlap if window else 0)
    return [slice(FACTOR * key.start, FACTOR * (key.stop - 1) + 1) for key in keys]


def _padded(frames: np.ndarray, device: torch.device) -> Tensor:
    """The video in −1…1 with its last rows and columns repeated up to a multiple of 8."""
    video = to_video(frames, device)
    height, width = video.shape[3:]
    return pad(video[0], (0, -width % 8, 0, -height % 8), mode="replicate")[None]
