"""Checks of a pipeline's arguments: a clear sentence before any work is done."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from .config import MAX_FRAMES, MAX_SIDE
from .errors import UsageError
from .models import VideoUNet
from .runtime.memory import activation_bytes

MAX_AT_ONCE = 1024  # frames in one pass of the network


def check_num_frames(num_frames: int) -> None:
    if not 1 <= num_frames <= MAX_FRAMES:
        raise UsageError(f"The number of frames must be between 1 and {MAX_FRAMES}, not {num_frames}.")


def check_at_once(unet: VideoUNet, num_frames: int, height: int, width: int, instead: str) -> None:
    """Refuse more frames of this size, in latent pixels, than one pass is for; instead: a sentence on what to do."""
    if num_frames > MAX_AT_ONCE:
        gigabytes = activation_bytes(unet, (2, 4, num_frames, height, width)) / 1e9
        takes = f"{num_frames} frames in one pass would take {gigabytes:.0f} GB or more"
        raise UsageError(f"{takes}; {MAX_AT_ONCE} are the most. {instead}")


def check_texts(texts: int | None, num_frames: int) -> None:
    """`texts`: how many frames have a prompt of their own, or None."""
    if texts is not None and texts != num_frames:
        raise UsageError(f"There are prompts for {texts} frames, but the video has {num_frames}.")


def check_size(height: int, width: int) -> None:
    for name, side in (("height", height), ("width", width)):
        if not 8 <= side <= MAX_SIDE or side % 8:
            raise UsageError(f"The {name} must be divisible by 8, between 8 and {MAX_SIDE}, not {side}.")


def check_seed(seed: int) -> None:
    if not 0 <= seed < 2**64:
        raise UsageError(f"The seed must be between 0 and {2**64 - 1}, not {seed}.")


def check_frames(frames: np.ndarray, minimum: int) -> np.ndarray:
    """uint8 [frames, height, width, 3] with at least `minimum` frames."""
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise UsageError("A video must be given as uint8 frames of shape [frames, height, width, 3].")
    check_video(frames.shape[:3], minimum)
    return frames


def check_video(shape: Sequence[int], minimum: int) -> None:
    """Refuse a video with this number of frames, height and width."""
    num_frames, height, width = shape
    if num_frames < minimum:
        raise UsageError(f"The video has {num_frames} frame(s); this stage needs at least {minimum}.")
    if min(height, width) < 8 or max(height, width) > MAX_SIDE:
        raise UsageError(f"A video of {height}×{width} pixels is too small or too large.")


def check_latents(latents: Tensor, batch: int) -> None:
    """[batch or 1, 4, frames, height, width], finite."""
    if latents.ndim != 5 or latents.shape[1] != 4:
        raise UsageError(f"LaVie's latents are [batch, 4, frames, height, width], not {list(latents.shape)}.")
    if len(latents) not in (1, batch):
        raise UsageError(f"There are latents of {len(latents)} clips but {batch} seeds.")
    if not latents.isfinite().all():
        raise UsageError("The given latents hold NaN or infinite values.")
