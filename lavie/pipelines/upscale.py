"""Stage 3: video super-resolution, four times the size."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..runtime.budget import Plan
from ..runtime.float8 import store_as_float8
from ..sampling import TextCondition, blended, denoise, regions, spans
from ..sampling.conditioning import low_resolution_noise
from ..sampling.guidance import Region
from ..speed import Speed
from .color_correction import check_color_correction, color_corrected
from .film_noise import Draw, clip_noise, segment_noise
from .output import Callback, VideoOutput
from .request import check_frames
from .sample import checked_seeds, counted, guided_by, schedule_of, stored
from .stage import StagePipeline, to_video

CHUNKS = ("blended", "official")
OFFICIAL_CHUNK = 8


class UpscalePipeline(StagePipeline):
    """Any video becomes four times as high and wide.

    By default in overlapped windows of frames (and tiles of the picture) that share noise and are blended at every
    step. `chunks="official"` gives the authors' independent chunks of 8 frames, hard seams and all.
    Source: vsr/sample.py, vsr/models/pipeline_stable_diffusion_upscale_video_3d.py.
    """

    stage_name = "upscaler"
    least_frames, enlargement = 1, 4

    def store_as_float8(self) -> None:
        """Keep the UNet's weights in 8 bits from now on; see `runtime.float8`."""
        store_as_float8(self.stage.unet)
        self.float8 = True

    def origin(self) -> dict[str, Any]:
        return {**super().origin(), **({"weights": "float8"} if self.float8 else {})}

    @staticmethod
    def frames_made(num_frames: int) -> int:
        """How many frames come of so many."""
        return num_frames

    def planned(self, config: StageConfig, num_frames: int, height: int, width: int) -> Plan:
        """`within_memory` for frames of so many pixels."""
        return self.within_memory(config, (num_frames, height, width))

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
        noise_level: int | None = None,
        window: int | None = None,
        overlap: int | None = None,
        tile: int | None = None,
        tile_overlap: int | None = None,
        chunks: str = "blended",
        color_correction: str | None = None,
        first_frame: int | None = None,
        speed: str | Speed = "exact",
        callback: Callback | None = None,
    ) -> VideoOutput:
        """Upscale uint8 frames [F, height, width, 3]; None takes the model's own setting.

        Args:
            noise_level: 0…350, noise added to the input: more lets the model invent more detail.
            window, overlap: frames per window, and shared by neighbours; window 0 takes all frames at once.
            tile, tile_overlap: edge of the tiles in input pixels, and shared by neighbours; tile 0 takes the picture
                whole. The VAE then decodes in tiles of that size, too.
            chunks: "blended" or "official".
            color_correction: "none" or "wavelet", which takes the colours from the input; see `color_corrected`.
            first_frame: for a segment of a longer film, its place there; the noise is then that of `film_noise`.
            speed: as in `TextToVideoPipeline.generate`.

        Raises:
            UsageError: a setting that cannot work.
        """
        frames = check_frames(frames, self.least_frames)
        config = self.stage.config.at_speed(self.stage.name, speed).replaced(
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
            noise_level=noise_level,
            window=window,
            overlap=overlap,
            tile=tile,
            tile_overlap=tile_overlap,
            color_correction=color_correction,
        )
        check_color_correction(config.color_correction)
        plan = self.planned(config, *frames.shape[:3])
        config = plan.config
        video = to_video(frames, self.stage.device)
        text = self.stage.embed([prompt], config.negative_prompt)
        generators, draw = (checked_seeds([seed]), None) if first_frame is None else segment_noise(seed, first_frame)
        self.stage.bring("unet")
        latents = sample_upscale(
            self.stage.unet,
            text,
            video,
            config,
            generators,
            device=self.stage.device,
            chunks=chunks,
            split=plan.means.split,
            draw=draw,
            callback=callback,
        )
        correct = partial(_corrected, video[0].transpose(0, 1), config.color_correction)
        tile, keys = plan.vae_tile, config.speed.vae_keys
        result = self.stage.decode(latents, "truncate", tile, callback, correct, plan.vae_frames, keys)[0]
        metadata = {
            **self.origin(),
            "prompt": prompt,
            "negative_prompt": config.negative_prompt,
            "seed": seed,
            "num_inference_steps": config.num_inference_steps,
            "guidance_scale": config.guidance_scale,
            "scheduler": config.scheduler,
            "spacing": config.spacing,
            "speed": config.speed.metadata(),
            "noise_level": config.noise_level,
            "chunks": chunks,
            "window": config.window,
            "overlap": config.overlap,
            "tile": config.tile,
            "tile_overlap": config.tile_overlap,
            "color_correction": config.color_correction,
            **plan.vae_metadata,
        }
        return VideoOutput(result, fps, metadata)


def sample_upscale(
    unet: VideoUNet,
    text: TextCondition,
    video: Tensor,
    config: StageConfig,
    generators: list[torch.Generator],
    *,
    device: torch.device,
    chunks: str = "blended",
    split: bool = False,
    draw: Draw | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Scaled latents [1, 4, frames, height, width] of the enlarged video [1, 3, frames, height, width] in −1…1.

    Args:
        video: on any device; it goes to the network's region by region.
        config: `noise_level`, `window`, `overlap`, `tile` and `tile_overlap` of it count as in `UpscalePipeline`.
        generators: one CPU generator per clip.
        chunks: "blended" or "official".
        split: evaluate the two halves of the guidance in turn; see `guided`.
        draw: where the noise to start from comes from, by default from the generators.

    Raises:
        UsageError: a setting that cannot work.
    """
    if chunks not in CHUNKS:
        raise UsageError(f"Unknown chunks '{chunks}'. Choose one of: {', '.join(CHUNKS)}.")
    num_frames = video.shape[2]
    size = OFFICIAL_CHUNK if chunks == "official" else num_frames
    starts = range(0, num_frames, size)
    pieces = [video[:, :, start : start + size] for start in starts]
    parts = [_parts(piece, config) for piece in pieces]
    total = config.num_inference_steps * sum(len(each) for each in parts)
    after_window, after_step = counted(callback, "upscaler", total)

    draw = draw or clip_noise(generators)

    def upscaled(pixels: Tensor, parts: list[Region], start: int) -> Tensor:
        """Frames that share their noise; the low-resolution noise is drawn first, as in the official code."""
        schedule = schedule_of(config)
        low_noise = stored(draw("low resolution", pixels.shape[1:], start), device)
        noise = stored(draw("latents", (4, *pixels.shape[2:]), start), device)
        condition = low_resolution_noise(pixels.to(low_noise), low_noise, config.noise_level)
        labels = torch.tensor([config.noise_level], device=device)
        predict = guided_by(config, unet, text, condition, labels, split, device)
        predict = blended(predict, parts, (config.overlap, config.tile_overlap), after_window)
        return denoise(predict, noise, schedule, generators, after_step)

    return torch.cat([upscaled(*each) for each in zip(pieces, parts, starts, strict=True)], dim=2)


def _corrected(small: Tensor, name: str, large: Tensor, start: int) -> Tensor:
    """Decoded frames [1, 3, n, H, W], from frame `start` of the video on, whose input is `small` [frames, 3, h, w]."""
    frames = large[0].transpose(0, 1)
    return color_corrected(frames, small[start : start + len(frames)], name).transpose(0, 1)[None]


def _parts(video: Tensor, config: StageConfig) -> list[Region]:
    """The windows and tiles of a video [1, 3, frames, height, width]."""
    num_frames = video.shape[2]
    windows = spans(num_frames, config.window or num_frames, config.overlap if config.window else 0)
    return regions(video.shape[2:], windows, config.tile or None, config.tile_overlap)
