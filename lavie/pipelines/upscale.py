"""Stage 3: video super-resolution, four times the size."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_frames
from ..config import StageConfig
from ..job import Callback, Job, segment_generators
from ..knobs import documented
from ..runtime.float8 import store_as_float8
from ..sampling import blended, denoise, regions, spans
from ..sampling.conditioning import low_resolution_noise
from ..sampling.guidance import Region
from ..video import check_frame_rate
from .color_correction import color_corrected
from .output import VideoOutput
from .stage import StagePipeline, to_video

OFFICIAL_CHUNK = 8


class UpscalePipeline(StagePipeline):
    """Makes any video four times as high and wide.

    By default it works in overlapping windows of frames (and tiles of the image) that share noise and are blended at
    every step. `chunks="official"` gives the authors' independent chunks of 8 frames, with their hard seams.
    Source: vsr/sample.py, vsr/models/pipeline_stable_diffusion_upscale_video_3d.py.
    """

    stage_name = "upscaler"

    def store_as_float8(self) -> None:
        """Keep the UNet's weights in 8 bits from now on; see `runtime.float8`."""
        store_as_float8(self.stage.unet)
        self.float8 = True

    def origin(self) -> dict[str, Any]:
        return {**super().origin(), **({"weights": "float8"} if self.float8 else {})}

    @documented(StageConfig, "upscaler")
    def __call__(
        self,
        frames: np.ndarray,
        prompt: str = "",
        fps: float = 8,
        seed: int = 0,
        first_frame: int | None = None,
        callback: Callback | None = None,
        **settings: Any,
    ) -> VideoOutput:
        """Upscale uint8 frames [F, height, width, 3].

        Args:
            fps: of the input, and of the output.
            first_frame: for a segment of a longer video, its position there; the noise then comes from `segment_noise`.
        """
        frames = check_frames(frames, self.stage.spec.min_frames)
        check_frame_rate(fps)
        plan = self.planned(self.configured(**settings), *frames.shape[:3])
        config = plan.config
        video = to_video(frames, self.stage.device)
        text = self.stage.embed([prompt], config.negative_prompt)
        generators, draw = segment_generators(seed, first_frame)
        latents = sample_upscale(self.job(text, plan, generators, callback, draw), video)
        correct = partial(_corrected, video[0].transpose(0, 1), config.color_correction)
        made = self.stage.decode(latents, plan, callback, "truncate", correct)[0]
        return VideoOutput(made, fps, self.described(config, prompt, seed, **plan.vae_metadata))


def sample_upscale(job: Job, video: Tensor) -> Tensor:
    """Scaled latents [1, 4, frames, height, width] of the enlarged video [1, 3, frames, height, width] in −1…1.

    Args:
        job: of the upscaler stage; uses `noise_level`, windows, tiles and `chunks` of its config.
        video: on any device; it moves to the network's device region by region.
    """
    config, num_frames = job.config, video.shape[2]
    size = OFFICIAL_CHUNK if config.chunks == "official" else num_frames
    starts = range(0, num_frames, size)
    chunks = [video[:, :, start : start + size] for start in starts]
    parts = [_parts(chunk, config) for chunk in chunks]
    total = config.num_inference_steps * sum(len(each) for each in parts)
    after_window, after_step = job.progress("upscaler", total)

    def upscaled(pixels: Tensor, parts: list[Region], start: int) -> Tensor:
        """Upscale frames that share their noise; the low-resolution noise is drawn first, as in the official code."""
        schedule = job.schedule()
        low_noise = job.noise(pixels.shape[1:], "low resolution", start)
        noise = job.noise((4, *pixels.shape[2:]), "latents", start)
        condition = low_resolution_noise(pixels.to(low_noise), low_noise, config.noise_level)
        labels = torch.tensor([config.noise_level], device=job.device)
        predict = job.predictor(condition=condition, class_labels=labels)
        predict = blended(predict, parts, (config.overlap, config.tile_overlap), after_window)
        return denoise(predict, noise, schedule, job.generators, after_step)

    return torch.cat([upscaled(*each) for each in zip(chunks, parts, starts, strict=True)], dim=2)


def _corrected(small: Tensor, name: str, large: Tensor, start: int) -> Tensor:
    """Decoded frames [1, 3, n, H, W], from frame `start` of the video on, whose input is `small` [frames, 3, h, w]."""
    frames = large[0].transpose(0, 1)
    return color_corrected(frames, small[start : start + len(frames)], name).transpose(0, 1)[None]


def _parts(video: Tensor, config: StageConfig) -> list[Region]:
    """The windows and tiles of a video [1, 3, frames, height, width]."""
    num_frames = video.shape[2]
    windows = spans(num_frames, config.window or num_frames, config.overlap if config.window else 0)
    return regions(video.shape[2:], windows, config.tile or None, config.tile_overlap)
