"""Which frames of a video make a clip: by their own times, whatever the frame rate, even or not."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from statistics import median

import torch

from .clip import ClipRequest, UnreadableClip
from .randomness import draw

SLACK = 0.1  # of a frame: files round their times, for example to milliseconds
FASTEST = 1.05  # how much faster than the video a request may be


@dataclass(frozen=True)
class Listing:
    """The frames of a video.

    ticks: when each is shown, in units of `unit` seconds; their indices if the file stores no times (`counted`).
    height, width: as shown.
    """

    ticks: tuple[int, ...]
    unit: Fraction
    height: int
    width: int
    counted: bool = False

    @cached_property
    def times(self) -> list[float]:
        """Seconds after the first frame."""
        return [float((tick - self.ticks[0]) * self.unit) for tick in self.ticks]

    @cached_property
    def gap(self) -> float:
        """The median of the seconds from one frame to the next."""
        gaps = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        return median(gaps) if gaps else 0.0

    @property
    def rate(self) -> float:
        """Frames a second."""
        return 1 / self.gap if self.gap > 0 else 0.0

    def segment(self, start: float, end: float | None) -> range:
        """The frames shown from `start` seconds on and before `end`."""
        slack = SLACK * self.gap
        last = len(self.ticks) if end is None else bisect_left(self.times, end - slack)
        return range(bisect_left(self.times, start - slack), last)


def choose_frames(
    name: str, listing: Listing, segment: range, request: ClipRequest, generator: torch.Generator
) -> list[int]:
    """The frames of a clip that starts at a random frame of the segment.

    With a frame rate, each frame is the one on screen at its time.

    Raises:
        UnreadableClip: the segment is too short or its frame rate too low.
    """
    if request.fps is None or request.num_frames == 1:
        starts = len(segment) - request.num_frames + 1
        if starts < 1:
            raise UnreadableClip(name, f"{len(segment)} frames are too few: {request.num_frames} are asked for")
        start = segment.start + draw(generator, starts)
        return list(range(start, start + request.num_frames))
    return _sampled(name, listing, segment, request.num_frames, request.fps, generator)


def _sampled(
    name: str, listing: Listing, segment: range, num_frames: int, fps: float, generator: torch.Generator
) -> list[int]:
    times, slack = listing.times, SLACK * listing.gap
    if not segment or fps > FASTEST * listing.rate:
        raise UnreadableClip(name, f"{listing.rate:.4g} frames a second are too few: {fps:g} a second are asked for")
    length = (num_frames - 1) / fps
    starts = bisect_right(times, times[segment[-1]] - length + slack) - segment.start
    if starts < 1:
        seconds = times[segment[-1]] - times[segment[0]] + listing.gap
        raise UnreadableClip(name, f"{seconds:.4g} s are too short for {num_frames} frames at {fps:g} a second")
    start = times[segment.start + draw(generator, starts)]
    return [bisect_right(times, start + index / fps + slack) - 1 for index in range(num_frames)]
