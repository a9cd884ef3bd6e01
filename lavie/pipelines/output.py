"""What a pipeline returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class VideoOutput:
    """frames: uint8 [frames, height, width, 3]; fps: frames per second; metadata: how it was made."""

    frames: np.ndarray
    fps: float
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamedVideo:
    """A video or image sequence on disk, with what is stored in it."""

    path: str
    num_frames: int
    height: int
    width: int
    fps: float
    metadata: dict[str, Any] = field(default_factory=dict)
