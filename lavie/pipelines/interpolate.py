"""Stage 2: temporal interpolation, four times the frame rate."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from ..checks import check_frames
from ..config import StageConfig
from ..errors import UsageError
from ..job import Callback, Job, segment_generators
from ..knobs import documented
from ..sampling import blended, denoise, regions, spans
from ..sampling.conditioning import key_frame_of
from ..sampling.noise import segment_noise
from ..stages import STAGES
from ..video import check_frame_rate
from .output import VideoOutput
from .stage import StagePipeline, padded_video

SPEC = STAGES["interpolation"]
FACTOR = SPEC.key_frame_distance


class InterpolationPipeline(StagePipeline):
    """F frames become 4F − 3 over the same time; every output frame is made anew.

    Clips longer than the model's window are denoised in overlapping windows that share noise and are blended at every
    step. Each starts on a key frame, to which the model's sparse-causal attention looks back.
    Source: interpolation/sample.py, auto_inpainting_copy_no_mask.
    """

    stage_name = "interpolation"

    @documented(StageConfig, "interpolation")
    def __call__(
        self,
        frames: np.ndarray,
        prompt: str = "",
        fps: float = 8,
        seed: int = 0,
        output_fps: float | None = None,
        first_frame: int | None = None,
        callback: Callback | None = None,
        **settings: Any,
    ) -> VideoOutput:
        """Interpolate uint8 frames [F, height, width, 3], F ≥ 2.

        Args:
            fps: of the input.
            output_fps: of the output; by default it lasts as long as the input: (4F − 3) / F times `fps`. The official
                code plays 61 frames made from 16 at 8 per second with 24, which takes a quarter longer.
            first_frame: for a segment of a longer video, its position there; the noise then comes from `segment_noise`.
        """
        frames = check_frames(frames, SPEC.min_frames)
        rate = SPEC.rate_made(len(frames), fps) if output_fps is None else output_fps
        check_frame_rate(rate)
        height, width = frames.shape[1:3]
        plan = self.planned(self.configured(**settings), *frames.shape[:3])
        video = padded_video(frames, self.stage.device)
        text = self.stage.embed([prompt], plan.config.negative_prompt)
        generators, draw = segment_generators(seed, first_frame and FACTOR * first_frame)
        drawn: dict[str, Any] = {"generator": generators[0]}
        if first_frame is not None:
            shape = (4, len(frames), video.shape[3] // 8, video.shape[4] // 8)
            drawn = {"noise": segment_noise(seed, first_frame)("key frames", shape, 0)}
        key_frames = self.stage.encode(video, plan, **drawn)
        latents = sample_interpolation(self.job(text, plan, generators, callback, draw), key_frames)
        made = self.stage.decode(latents, plan, callback)[0, :, :height, :width]
        return VideoOutput(made, rate, self.described(plan.config, prompt, seed, **plan.vae_metadata))


def sample_interpolation(job: Job, key_frames: Tensor) -> Tensor:
    """Scaled latents [1, 4, 4F − 3, h, w] between and at the key frames' scaled latents [1, 4, F, h, w], F ≥ 2.

    The config's `window` and `overlap` count key frames; window 0 takes all at once.
    """
    config = job.config
    if key_frames.shape[2] < SPEC.min_frames:
        raise UsageError(f"Interpolation needs at least {SPEC.min_frames} frames, not {key_frames.shape[2]}.")
    schedule = job.schedule()
    windows = key_frame_windows(key_frames.shape[2], config.window, config.overlap)
    num_frames = SPEC.frames_made(key_frames.shape[2])
    noise = job.noise((4, num_frames, *key_frames.shape[3:]))
    condition = key_frames.to(noise.device)[:, :, key_frame_of(num_frames).to(noise.device)]
    parts = regions(noise.shape[2:], windows)
    after_window, after_step = job.progress("interpolation", len(schedule) * len(parts))
    predict = job.predictor(condition=condition)
    predict = blended(predict, parts, (SPEC.frames_made(config.overlap), 0), after_window)
    return denoise(predict, noise, schedule, job.generators, after_step)


def key_frame_windows(num_key_frames: int, window: int, overlap: int) -> list[slice]:
    """Windows of output frames, each from one key frame to another; neighbours share at least one key frame."""
    if window and num_key_frames > window and overlap < 1:
        raise UsageError("Windows of key frames need an overlap of 1 or more: neighbours meet on a key frame.")
    windows = spans(num_key_frames, window or num_key_frames, overlap if window else 0)
    return [slice(FACTOR * each.start, FACTOR * (each.stop - 1) + 1) for each in windows]
