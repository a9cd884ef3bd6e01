"""How far a command is: a bar for every stage on a terminal, else a line when a stage is done."""

from __future__ import annotations

import sys
import time
from typing import Any


class StageProgress:
    """A pipeline's callback; as a block it leaves the terminal clean."""

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
