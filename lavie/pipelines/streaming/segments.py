"""Cuts a long video into overlapping segments of about equal length."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ...config import MAX_FRAMES, MIN_SEGMENT, StageConfig
from ...errors import LavieError, UsageError
from ..upscale import OFFICIAL_CHUNK

WINDOWS = 10  # per segment by default: the 61 frames of LaVie's own cascade are one segment


@dataclass(frozen=True)
class Cut:
    """size: frames per segment, at most; overlap: frames that neighbours share."""

    size: int
    overlap: int

    @classmethod
    def of(cls, config: StageConfig, settings: Mapping[str, Any], size: int | None = None) -> Cut | None:
        """For a stage and a pipeline's arguments; None if one window covers everything and no size is given."""
        config = stage_settings(config, settings)
        official = config.chunks == "official"
        overlap = 0 if official else max(1, config.overlap)
        window = OFFICIAL_CHUNK if official else config.window
        if size is None:
            return cls(max(MIN_SEGMENT, WINDOWS * window - (WINDOWS - 1) * overlap), overlap) if window else None
        if not MIN_SEGMENT <= size <= MAX_FRAMES:
            raise UsageError(f"A segment must have {MIN_SEGMENT} to {MAX_FRAMES} frames, not {size}.")
        if official and size % OFFICIAL_CHUNK:
            raise UsageError(
                f"With official chunks a segment must be a multiple of {OFFICIAL_CHUNK} frames, not {size}."
            )
        return cls(size, min(overlap, size // 3))

    def segments(self, num_frames: int) -> list[slice]:
        """The segments of a video of that length; without an overlap all but the last have the full size."""
        count = max(1, math.ceil((num_frames - self.overlap) / (self.size - self.overlap)))
        if self.overlap == 0:
            starts = range(0, num_frames, self.size)
        else:
            starts = [(num_frames - self.overlap) * number // count for number in range(count)]
        stops = [*(start + self.overlap for start in starts[1:]), num_frames]
        return [slice(*ends) for ends in zip(starts, stops, strict=True)]


def stage_settings(config: StageConfig, settings: Mapping[str, Any]) -> StageConfig:
    """A stage's settings, changed by a pipeline's arguments, except for the speed."""
    known = {field.name for field in fields(StageConfig)} - {"speed"}
    return config.replaced(**{name: value for name, value in settings.items() if name in known})


def pieces_of(frames: Iterator[np.ndarray], segments: Iterable[slice]) -> Iterator[np.ndarray]:
    """The frames uint8 [n, height, width, 3] of each segment, in order of their starts. Holds one segment at a time.

    Raises:
        LavieError: there are fewer frames than that.
    """
    held: deque[np.ndarray] = deque()
    start = 0
    for segment in segments:
        while start + len(held) < segment.stop:
            frame = next(frames, None)
            if frame is None:
                raise LavieError("The input has become shorter since the run began.")
            held.append(frame)
            if start < segment.start:
                held.popleft()
                start += 1
        for _ in range(segment.start - start):
            held.popleft()
        start = segment.start
        yield np.stack(held)
