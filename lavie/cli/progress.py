"""Progress of a command: a bar per stage on a terminal, else a line when a stage is done."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class _Bar:
    """As a context manager it leaves the terminal clean."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._bars = quiet, sys.stderr.isatty()
        self._stage = ""
        self._bar: Any = None
        self._since = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _open(self, stage: str, total: int, **options: Any) -> None:
        self._close()
        self._stage = stage
        if self._bars:
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, dynamic_ncols=True, **options)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class StageProgress(_Bar):
    """A pipeline's callback."""

    _done = _total = 0

    def __call__(self, stage: str, done: int, total: int, timestep: float, x0: Any) -> None:
        if self._quiet:
            return
        if (stage, total) != (self._stage, self._total) or done <= self._done:
            self._open(stage, total)
            self._done, self._total = 0, total
        if self._bar is not None:
            self._bar.update(done - self._done)
        self._done = done
        if done == total:
            now = time.perf_counter()
            if not self._bars:
                print(f"{stage}: {total} in {now - self._since:.1f} s", file=sys.stderr)
            self._since = now
            self._close()


class SegmentProgress(_Bar):
    """The callbacks of a video made in segments: one bar over all frames with the time left, or a line after every
    segment."""

    _finished = _all = _at_first = 0

    def __call__(self, stage: str, done: int, total: int, timestep: float, x0: Any) -> None:
        if self._quiet or not self._bars:
            return
        if stage != self._stage:
            self._open(stage, total, initial=done, unit=" frames")
        self._bar.update(done - self._bar.n)

    def segment(self, finished: int, total: int) -> None:
        """Report how many segments are finished, of how many. The first call says how many were there before."""
        if self._all == 0:
            self._at_first, self._since = finished, time.perf_counter()
        self._finished, self._all = finished, total
        if self._quiet or self._bars or finished == 0:
            return
        from tqdm import tqdm

        made = finished - self._at_first
        seconds = time.perf_counter() - self._since
        words = f"{tqdm.format_interval(seconds / made * (total - finished))} left" if made else "kept from before"
        print(f"segment {finished} of {total}: {words}", file=sys.stderr)

    def kept(self) -> str:
        """What remains after a stop; empty if no segment is finished."""
        if self._finished == 0:
            return ""
        of = f"{self._finished} of {self._all} segments"
        return f"stopped; {of} are kept, and the same command resumes from there."
