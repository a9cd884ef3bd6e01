"""Long videos by the base model alone, without training: five ways, from text to scaled latents.

All take the same first arguments:

    text: for all frames, or for each of them; for all clips of the batch, or for each.
    config: of the base stage; its `num_frames` is the window, how many frames the model makes at once.
    seeds: one for each clip of the batch.
    motion: how much more a video changes; see `livelier`.
    free_init_iterations: how often a clip is made, each time from noise refined by the last; see `free_init`.
    split: evaluate the two halves of the guidance in turn; see `guided`.

All give [len(seeds), 4, num_frames, height / 8, width / 8], and raise UsageError for a setting that cannot work. A
video of no more than a window is what `sample_text_to_video` makes, bit for bit, except by FIFO-Diffusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..sampling import (
    TextCondition,
    create_schedule,
    fifo,
    injected,
    livelier,
    shuffled_noise,
    spectral_blend,
    windowed,
)
from ..sampling.fifo import frames_before, queue_windows
from ..sampling.guidance import Predict
from ..sampling.seam import SEAM_FRAMES
from .extend import WINDOW, check_fitting, extended, extension_rounds
from .output import Callback
from .request import check_num_frames, check_size, check_texts
from .sample import checked_seeds, counted, denoised, guided_by, stored_noise
from .text_to_video import SCALE


def sample_replacement(
    unet: VideoUNet,
    text: TextCondition,
    config: StageConfig,
    seeds: Sequence[int],
    *,
    device: torch.device,
    num_frames: int,
    context_frames: int,
    resample: int = 1,
    drift_correction: float = 0.0,
    anchor: float = 0.0,
    seam_frames: int = SEAM_FRAMES,
    motion: float = 0.0,
    free_init_iterations: int = 1,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Clip after clip, each of which knows the last `context_frames` of the one before; see `sample_extension`."""
    window = _window(text, config, num_frames)
    check_fitting(resample, drift_correction, anchor, seam_frames)
    rounds = extension_rounds(window, num_frames - window, context_frames, window) if num_frames > window else []
    generators, steps = checked_seeds(seeds), config.num_inference_steps
    total = steps * (1 + len(rounds) * resample) * max(1, free_init_iterations)
    _, after_step = counted(callback, "base", total)

    def predict(frames: slice) -> Predict:
        strategy = livelier(motion)
        return guided_by(config, unet, text.at(frames), split=split, device=device, strategy=strategy)

    noise = stored_noise(_shape(config, min(window, num_frames)), generators, device)
    clip = predict(slice(0, noise.shape[2]))
    latents = denoised(clip, noise, config, generators, after_step, iterations=free_init_iterations)
    return extended(
        predict,
        latents,
        rounds,
        config,
        generators,
        after_step,
        device,
        resample,
        drift_correction,
        anchor,
        seam_frames,
        free_init_iterations,
    )


def sample_independent(
    unet: VideoUNet,
    text: TextCondition,
    config: StageConfig,
    seeds: Sequence[int],
    *,
    device: torch.device,
    num_frames: int,
    motion: float = 0.0,
    free_init_iterations: int = 1,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Clips that know nothing of each other, with a hard cut after every window: what the others are measured by."""
    window = _window(text, config, num_frames)
    length = min(window, num_frames)
    starts, generators = range(0, num_frames, length), checked_seeds(seeds)
    _, after_step = counted(callback, "base", config.num_inference_steps * len(starts) * max(1, free_init_iterations))
    strategy, clips = livelier(motion), []
    for start in starts:
        shown = text.at(_clamped(start, start + length, num_frames))
        predict = guided_by(config, unet, shown, split=split, device=device, strategy=strategy)
        noise = stored_noise(_shape(config, length), generators, device)
        clips.append(denoised(predict, noise, config, generators, after_step, iterations=free_init_iterations))
    return torch.cat(clips, dim=2)[:, :, :num_frames]


def sample_free_noise(
    unet: VideoUNet,
    text: TextCondition,
    config: StageConfig,
    seeds: Sequence[int],
    *,
    device: torch.device,
    num_frames: int,
    context_frames: int,
    motion_injection: bool = False,
    motion: float = 0.0,
    free_init_iterations: int = 1,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """All frames in one pass, with attention in windows that share `context_frames`; see `sampling.free_noise`.

    motion_injection: prompts that change over time change what happens more than how it looks; see there.
    """
    window = _window(text, config, num_frames)
    strategy, told = livelier(motion, windowed(window, context_frames)), injected(text) if motion_injection else None
    predict = guided_by(config, unet, text, split=split, device=device, strategy=strategy, told_down=told)
    stride = window - context_frames
    return _in_one_pass(predict, config, seeds, device, num_frames, stride, free_init_iterations, callback)


def sample_free_long(
    unet: VideoUNet,
    text: TextCondition,
    config: StageConfig,
    seeds: Sequence[int],
    *,
    device: torch.device,
    num_frames: int,
    motion: float = 0.0,
    free_init_iterations: int = 1,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """All frames in one pass, with attention among all of them for what changes slowly; see `sampling.free_long`.

    The noise is that of FreeNoise in groups of a quarter of a window, as in the official code.
    """
    window = _window(text, config, num_frames)
    strategy = livelier(motion, spectral_blend(window))
    predict = guided_by(config, unet, text, split=split, device=device, strategy=strategy)
    group = max(1, window // 4)
    return _in_one_pass(predict, config, seeds, device, num_frames, group, free_init_iterations, callback)


def _in_one_pass(
    predict: Predict,
    config: StageConfig,
    seeds: Sequence[int],
    device: torch.device,
    num_frames: int,
    group: int,
    iterations: int,
    callback: Callback | None,
) -> Tensor:
    """group: how many frames of noise are shuffled together."""
    window, generators = config.num_frames or WINDOW, checked_seeds(seeds)
    noise = stored_noise(_shape(config, min(window, num_frames)), generators, device)
    if num_frames > window:
        noise = shuffled_noise(noise, num_frames, group, generators)
    _, after_step = counted(callback, "base", config.num_inference_steps * max(1, iterations))
    return denoised(predict, noise, config, generators, after_step, iterations=iterations)


def sample_fifo(
    unet: VideoUNet,
    text: TextCondition,
    config: StageConfig,
    seeds: Sequence[int],
    *,
    device: torch.device,
    num_frames: int,
    partitions: int = 4,
    lookahead: bool = True,
    motion: float = 0.0,
    free_init_iterations: int = 1,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """A clip, and frames from a queue that begins as it; see `sampling.fifo`.

    partitions: how many windows the queue is long; its steps are those of DDIM, whatever the scheduler of the clip.
    """
    window = _window(text, config, num_frames)
    if partitions < 1:
        raise UsageError(f"The queue must be 1 window long or more, not {partitions}.")
    schedule = create_schedule("ddim", partitions * window, prediction_type=config.prediction_type)
    windows, before = queue_windows(len(schedule), window, lookahead), frames_before(len(schedule), window, lookahead)
    rounds = len(schedule) - window + num_frames
    total = config.num_inference_steps * max(1, free_init_iterations) + rounds * len(windows)
    after_window, after_step = counted(callback, "base", total)

    def predict(texts: TextCondition) -> Predict:
        return guided_by(config, unet, texts, split=split, device=device, strategy=livelier(motion))

    generators = checked_seeds(seeds)
    noise = stored_noise(_shape(config, window), generators, device)
    first = predict(text.at(_clamped(0, window, num_frames)))
    clip = denoised(first, noise, config, generators, after_step, iterations=free_init_iterations)
    queue = predict(text.at(_clamped(-before, num_frames + len(schedule), num_frames)))
    return torch.cat(list(islice(fifo(queue, clip, schedule, generators, lookahead, after_window), num_frames)), dim=2)


def _window(text: TextCondition, config: StageConfig, num_frames: int) -> int:
    """How many frames the model makes at once, once all is known to fit."""
    check_num_frames(num_frames)
    check_size(config.height, config.width)
    check_texts(text.frames, num_frames)
    return config.num_frames or WINDOW


def _shape(config: StageConfig, frames: int) -> tuple[int, int, int, int]:
    return (4, frames, config.height // SCALE, config.width // SCALE)


def _clamped(start: int, stop: int, num_frames: int) -> Tensor:
    """The frames from start to stop, those outside the video as its first or last: int64 [stop − start]."""
    return torch.arange(start, stop).clamp(0, num_frames - 1)
