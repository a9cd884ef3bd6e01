"""The strength of a control over the frames of a video."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError

MOST = 20.0


@dataclass(frozen=True)
class FrameStrengths:
    """Factors on the strength of a control, by frame.

    points: (frame, factor) in order, interpolated linearly, the first and last held; empty: 1 for all frames.
    """

    points: tuple[tuple[int, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> FrameStrengths:
        """Points as "0: 1, 8: 0"; "" changes nothing.

        Raises:
            UsageError: something else, frames that are out of order, or a factor beyond ±20.
        """
        points = tuple(_point(entry, text) for entry in text.split(",") if entry.strip())
        if any(later <= earlier for (earlier, _), (later, _) in pairwise(points)):
            raise UsageError(f"The frames of '{text.strip()}' must come in order.")
        return cls(points)

    def over(self, num_frames: int) -> Tensor:
        """The factor for every frame, float32 [num_frames]."""
        if not self.points:
            return torch.ones(num_frames)
        frames, factors = zip(*self.points, strict=True)
        return torch.from_numpy(np.interp(np.arange(num_frames), frames, factors)).float()


def _point(entry: str, text: str) -> tuple[int, float]:
    frame, colon, factor = entry.partition(":")
    try:
        point = int(frame), float(factor)
    except ValueError:
        point = (-1, math.nan)
    if not colon or point[0] < 0 or not abs(point[1]) <= MOST:
        raise UsageError(
            f"'{text.strip()}' is no strength over frames: write frames from 0 on, with strengths up to {MOST:g}, "
            "as in '0: 1, 8: 0'."
        )
    return point
