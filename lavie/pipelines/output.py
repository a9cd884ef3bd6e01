"""What a pipeline gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

# (stage, done, total, timestep, x0 estimate): after every evaluation of the network, of steps × windows in all; x0
# [batch, 4, f, h, w] comes after whole steps, and is None inside them and while a stage decodes. Raise
# `lavie.errors.Cancelled` in it to stop.
Callback = Callable[[str, int, int, float, Tensor | None], None]


@dataclass(frozen=True)
class VideoOutput:
    """frames: uint8 [frames, height, width, 3]; fps: frames per second; metadata: how it was made."""

    frames: np.ndarray
    fps: float
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamedVideo:
    """A film or image sequence on disk, with what is stored in it."""

    path: str
    num_frames: int
    height: int
    width: int
    fps: float
    metadata: dict[str, Any] = field(default_factory=dict)
