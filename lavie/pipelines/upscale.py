"""Stage 3: video super-resolution, four times the size."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..sampling import blended, create_schedule, denoise, draw_noise, guided, regions, spans
from ..sampling.conditioning import low_resolution_noise
from .output import Callback, VideoOutput
from .request import check_frames
from .stage import StagePipeline, checked_seeds, to_video

CHUNKS = ("blended", "official")
OFFICIAL_CHUNK = 8


class UpscalePipeline(StagePipeline):
    """Any video becomes four times as high and wide.

    By default in overlapped windows of frames (and tiles of the picture) that share noise and are blended at every
    step. `chunks="official"` gives the authors' independent chunks of 8 frames, hard seams and all.
    Source: vsr/sample.py, vsr/models/pipeline_stable_diffusion_upscale_video_3d.py.
    """

    stage_name = "upscaler"

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
        callback: Callback | None = None,
    ) -> VideoOutput:
        """Upscale uint8 frames [F, height, width, 3]; None takes the model's own setting.

        Args:
            noise_level: 0…350, noise added to the input: more lets the model invent more detail.
            window, overlap: frames per window, and shared by neighbours; window 0 takes all frames at once.
            tile, tile_overlap: edge of the tiles in input pixels, and shared by neighbours; tile 0 takes the picture
                whole. The VAE then decodes in tiles of that size, too.
            chunks: "blended" or "official".

        Raises:
            UsageError: a setting that cannot work.
        """
        frames = check_frames(frames, least=1)
        config = self.stage.settings(
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
        )
        if chunks not in CHUNKS:
            raise UsageError(f"Unknown chunks '{chunks}'. Choose one of: {', '.join(CHUNKS)}.")
        latents = self._sample(frames, prompt, seed, config, chunks, callback)
        result = self.stage.decode(latents, "truncate", config.tile, callback)[0]
        metadata = {
            "model": self.stage.family.name,
            "prompt": prompt,
            "negative_prompt": config.negative_prompt,
            "seed": seed,
            "num_inference_steps": config.num_inference_steps,
            "guidance_scale": config.guidance_scale,
            "scheduler": config.scheduler,
            "spacing": config.spacing,
            "noise_level": config.noise_level,
            "chunks": chunks,
            "window": config.window,
            "overlap": config.overlap,
            "tile": config.tile,
            "tile_overlap": config.tile_overlap,
        }
        return VideoOutput(result, fps, metadata)

    def _sample(
        self,
        frames: np.ndarray,
        prompt: str,
        seed: int,
        config: StageConfig,
        chunks: str,
        callback: Callback | None,
    ) -> Tensor:
        generators = checked_seeds([seed])
        text = self.stage.embed([prompt], config.negative_prompt)
        size = OFFICIAL_CHUNK if chunks == "official" else len(frames)
        latents = []
        for start in range(0, len(frames), size):
            pixels = to_video(frames[start : start + size], self.stage.device)
            latents.append(self._sample_chunk(pixels, text, generators, config, callback))
        return torch.cat(latents, dim=2)

    def _sample_chunk(self, pixels: Tensor, text, generators, config: StageConfig, callback: Callback | None) -> Tensor:
        """Denoise frames that share their noise; draws the low-resolution noise first, as the official code does."""
        shape = pixels.shape[2:]
        low_noise = draw_noise((3, *shape), generators).to(pixels.device)
        noise = draw_noise((4, *shape), generators).to(pixels.device)
        schedule = create_schedule(config.scheduler, config.num_inference_steps, config.spacing, config.prediction_type)
        predict = guided(
            self.stage.unet,
            text,
            config.guidance_scale,
            condition=low_resolution_noise(pixels, low_noise, config.noise_level),
            class_labels=torch.tensor([config.noise_level], device=pixels.device),
        )
        windows = spans(shape[0], config.window or shape[0], config.overlap if config.window else 0)
        parts = regions(shape, windows, config.tile or None, config.tile_overlap)
        predict = blended(predict, parts, (config.overlap, config.tile_overlap))
        return denoise(predict, noise, schedule, generators, self.stage.on_step(callback))
