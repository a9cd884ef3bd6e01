"""`python -m lavie`, and the command `lavie`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

STOPPED = b"lavie: error: stopped; unfinished files were not written.\n"


def run() -> NoReturn:
    """Run the command that the arguments name; Ctrl-C ends it with 130 and one line at any moment."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    from .cli import main

    code = main()
    sys.stdout.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is left to do but to end
    sys.exit(code)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Before and after `main`, where nothing is written."""
    os.write(2, STOPPED)
    os._exit(130)


if __name__ == "__main__":
    run()
