"""Progress of a command: a bar per stage on a terminal, else a line when a stage is done."""

from __future__ import annotations

import sys
import time
from typing import Any


class StageProgress:
    """A pipeline's callback. As a context manager it leaves the terminal clean."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bars = sys.stderr.isatty()
        self._stage, self._done, self._total = "", 0, 0
        self._bar: Any = None
        self._since = time.perf_counter()

    def __enter__(self) -> StageProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, stage: str, done: int, total: int, timestep: float, x0: Any) -> None:
        if self._quiet:
            return
        if (stage, total) != (self._stage, self._total) or done <= self._done:
            self._begin(stage, total)
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done
        if done == total:
            self._end()

    def _begin(self, stage: str, total: int) -> None:
        self._close()
        self._stage, self._done, self._total = stage, 0, total
        if self._bars:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, dynamic_ncols=True)

    def _end(self) -> None:
        now = time.perf_counter()
        if not self._bars:
            print(f"{self._stage}: {self._total} in {now - self._since:.1f} s", file=sys.stderr)
        self._since = now
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class SegmentProgress:
    """The callbacks of a video made in segments. As a context manager it leaves the terminal clean.

    One bar over all frames with the time left, or a line after every segment.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._bars = sys.stderr.isatty()
        self._stage = ""
        self._bar: Any = None
        self._finished = self._all = self._at_first = 0
        self._since = time.perf_counter()

    def __enter__(self) -> SegmentProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, stage: str, done: int, total: int, timestep: float, x0: Any) -> None:
        if self._quiet or not self._bars:
            return
        if stage != self._stage:
            self._close()
            from tqdm import tqdm

            self._stage = stage
            self._bar = tqdm(total=total, initial=done, desc=stage, unit=" frames", file=sys.stderr, dynamic_ncols=True)
        self._bar.update(done - self._bar.n)

    def segment(self, finished: int, total: int) -> None:
        """Report how many segments are finished, of how many. The first call says how many were there before."""
        if self._all == 0:
            self._at_first, self._since = finished, time.perf_counter()
        self._finished, self._all = finished, total
        if self._quiet or self._bars or finished == 0:
            return
        made = finished - self._at_first
        seconds = time.perf_counter() - self._since
        words = f"{_duration(seconds / made * (total - finished))} left" if made else "kept from before"
        print(f"segment {finished} of {total}: {words}", file=sys.stderr)

    def kept(self) -> str:
        """What remains after a stop; empty if no segment is finished."""
        if self._finished == 0:
            return ""
        of = f"{self._finished} of {self._all} segments"
        return f"stopped; {of} are kept, and the same command resumes from there."

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _duration(seconds: float) -> str:
    """As 1:02:03, or 2:03 for less than an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
