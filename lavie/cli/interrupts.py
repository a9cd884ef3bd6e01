"""Ctrl-C and `kill` end a command at any moment, also while packages are being imported."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

AGAIN = 0.05  # seconds


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Within the block, SIGINT and SIGTERM raise KeyboardInterrupt; gives the list of those that came.

    Python drops an exception that comes up inside a destructor or a callback of a weak reference, as imports have many:
    it is raised again a moment later. And packages written in C turn it into errors of their own: hence the list.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if issubclass(what.exc_type, KeyboardInterrupt):
            threading.Timer(AGAIN, _thread.interrupt_main).start()
        else:
            hook(what)

    hook, sys.unraisablehook = sys.unraisablehook, dropped
    listened = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, stop) for each in listened}
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        sys.unraisablehook = hook
