"""Stop requests from Ctrl-C or the system, which wait until a step is done and a checkpoint written."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

import torch
import torch.distributed as dist

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Within the block, the first SIGINT or SIGTERM is noted; the second acts at once, as usual.

    All processes stop after the same step, as soon as one of them is told to.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, object] = {}
        # A group of its own on the CPU: asking the others makes no GPU wait.
        self._group = dist.new_group(backend="gloo") if dist.is_available() and dist.is_initialized() else None

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def agreed(self) -> int:
        """The signal that any process received, 0 for none; all processes must ask, and get the same answer."""
        if self._group is None:
            return self.received
        received = torch.tensor(self.received)
        dist.all_reduce(received, dist.ReduceOp.MAX, group=self._group)
        return int(received)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for known, handler in self._before.items():
            signal.signal(known, handler)  # type: ignore[arg-type]
