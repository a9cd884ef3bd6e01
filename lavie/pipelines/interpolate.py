"""Stage 2: temporal interpolation, four times the frame rate."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..runtime.budget import Plan
from ..sampling import TextCondition, blended, denoise, regions, spans
from ..sampling.conditioning import key_frame_of
from ..speed import Speed
from .film_noise import Draw, clip_noise, film_noise, segment_noise
from .output import Callback, VideoOutput
from .request import check_frames
from .sample import checked_seeds, counted, guided_by, schedule_of, stored
from .stage import StagePipeline, padded_video

FACTOR = 4


class InterpolationPipeline(StagePipeline):
    """F frames become 4F − 3 over the same duration; every output frame is synthesised anew.

    Longer clips than the model's window are denoised in overlapped windows that share noise and are blended at
    every step; each starts on a key frame, which the model's sparse-causal attention looks back to.
    Source: interpolation/sample.py, auto_inpainting_copy_no_mask.
    """

    stage_name = "interpolation"
    least_frames, enlargement = 2, 1

    @staticmethod
    def frames_made(num_frames: int) -> int:
        """How many frames come of so many."""
        return FACTOR * (num_frames - 1) + 1

    def planned(self, config: StageConfig, num_frames: int, height: int, width: int) -> Plan:
        """`within_memory` for frames of so many pixels."""
        return self.within_memory(config, (self.frames_made(num_frames), -(-height // 8), -(-width // 8)), encodes=True)

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
        first_frame: int | None = None,
        speed: str | Speed = "exact",
        callback: Callback | None = None,
    ) -> VideoOutput:
        """Interpolate uint8 frames [F, height, width, 3], F ≥ 2; None takes the model's own setting.

        Args:
            fps: of the input; the output has the model's own rate relative to it (LaVie: three times, 8 → 24).
            window, overlap: key frames per window, and shared by neighbours.
            first_frame: for a segment of a longer film, its place there; the noise is then that of `film_noise`.
            speed: as in `TextToVideoPipeline.generate`.

        Raises:
            UsageError: fewer than two frames, or a setting that cannot work.
        """
        frames = check_frames(frames, self.least_frames)
        config = self.stage.config.at_speed(self.stage.name, speed).replaced(
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
            window=window,
            overlap=overlap,
        )
        height, width = frames.shape[1:3]
        plan = self.planned(config, *frames.shape[:3])
        config = plan.config
        video = padded_video(frames, self.stage.device)
        text = self.stage.embed([prompt], config.negative_prompt)
        if first_frame is None:
            generators, draw = checked_seeds([seed]), None
            keys = self.stage.encode(video, plan, generator=generators[0])
        else:
            generators, draw = segment_noise(seed, FACTOR * first_frame)
            shape = (4, len(frames), video.shape[3] // 8, video.shape[4] // 8)
            keys = self.stage.encode(video, plan, noise=film_noise(seed, first_frame)("key frames", shape, 0))
        self.stage.bring("unet")
        latents = sample_interpolation(
            self.stage.unet,
            text,
            keys,
            config,
            generators,
            device=self.stage.device,
            split=plan.means.split,
            draw=draw,
            callback=callback,
        )
        decoded = self.stage.decode(latents, "nearest", plan.vae_tile, callback, frames_per_batch=plan.vae_frames)
        result = decoded[0, :, :height, :width]
        metadata = {
            **self.origin(),
            "prompt": prompt,
            "seed": seed,
            "num_inference_steps": config.num_inference_steps,
            "guidance_scale": config.guidance_scale,
            "scheduler": config.scheduler,
            "spacing": config.spacing,
            "speed": config.speed.metadata(),
            "window": config.window,
            "overlap": config.overlap,
            **plan.vae_metadata,
        }
        return VideoOutput(result, fps * config.fps / 8, metadata)


def sample_interpolation(
    unet: VideoUNet,
    text: TextCondition,
    keys: Tensor,
    config: StageConfig,
    generators: list[torch.Generator],
    *,
    device: torch.device,
    split: bool = False,
    draw: Draw | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Scaled latents [1, 4, 4F − 3, h, w] between and at the key frames' scaled latents [1, 4, F, h, w], F ≥ 2.

    Args:
        config: `window` and `overlap` count key frames; window 0 takes all at once.
        generators: one CPU generator per clip; the noise is drawn from where they stand.
        split: evaluate the two halves of the guidance in turn; see `guided`.
        draw: where the noise to start from comes from, by default from the generators.

    Raises:
        UsageError: fewer than two key frames, or a setting that cannot work.
    """
    if keys.shape[2] < 2:
        raise UsageError(f"Interpolation needs at least 2 frames, not {keys.shape[2]}.")
    schedule = schedule_of(config)
    windows = key_frame_windows(keys.shape[2], config.window, config.overlap)
    num_frames = FACTOR * (keys.shape[2] - 1) + 1
    noise = stored((draw or clip_noise(generators))("latents", (4, num_frames, *keys.shape[3:]), 0), device)
    condition = keys.to(noise.device)[:, :, key_frame_of(num_frames).to(noise.device)]
    parts = regions(noise.shape[2:], windows)
    after_window, after_step = counted(callback, "interpolation", len(schedule) * len(parts))
    predict = guided_by(config, unet, text, condition, split=split, device=device)
    predict = blended(predict, parts, (FACTOR * (config.overlap - 1) + 1, 0), after_window)
    return denoise(predict, noise, schedule, generators, after_step)


def key_frame_windows(num_key_frames: int, window: int, overlap: int) -> list[slice]:
    """Windows of output frames, each from one key frame to another; neighbours share a key frame or more."""
    if window and num_key_frames > window and overlap < 1:
        raise UsageError("Windows of key frames need an overlap of 1 or more: neighbours meet on a key frame.")
    keys = spans(num_key_frames, window or num_key_frames, overlap if window else 0)
    return [slice(FACTOR * key.start, FACTOR * (key.stop - 1) + 1) for key in keys]
