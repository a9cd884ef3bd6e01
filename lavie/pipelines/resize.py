"""Frames of one size brought to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..errors import UsageError

RESIZES = ("crop", "stretch")


def check_resize(how: str) -> None:
    """Raise UsageError if there is no such way to resize."""
    if how not in ("refuse", *RESIZES):
        raise UsageError(f"Unknown resize '{how}'. Choose one of: refuse, {', '.join(RESIZES)}.")


def resized(images: Tensor, size: tuple[int, int], how: str) -> Tensor:
    """Float frames [frames, height, width, channels] in 0…1, resized to (height, width) one by one with antialiased
    bicubic interpolation.

    how: "crop" keeps the proportions and cuts both sides off equally; "stretch" keeps all of the image.
    """
    if tuple(images.shape[1:3]) == size:
        return images
    within = _middle(images.shape[1:3], size) if how == "crop" else (slice(None), slice(None))
    parts = (image[within].movedim(-1, 0)[None] for image in images)
    made = (interpolate(part, size, mode="bicubic", antialias=True) for part in parts)
    return torch.cat([part.clamp(0, 1).movedim(1, -1) for part in made])


def resized_frames(frames: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    """`resized` for uint8 frames [frames, height, width, 3]; "refuse" leaves them as they are."""
    check_resize(how)
    if frames.shape[1:3] == size or how == "refuse":
        return frames
    parts = (resized(torch.from_numpy(np.ascontiguousarray(frame))[None] / 255, size, how) for frame in frames)
    return np.concatenate([(part * 255).round().to(torch.uint8).numpy() for part in parts])


def _middle(given: Sequence[int], size: tuple[int, int]) -> tuple[slice, slice]:
    """The largest centred part of an image that has the proportions of `size`."""
    scale = min(given[0] / size[0], given[1] / size[1])
    sides = [max(1, round(side * scale)) for side in size]
    starts = [(whole - side) // 2 for whole, side in zip(given, sides, strict=True)]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return rows, columns
