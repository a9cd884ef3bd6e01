"""Where training runs, and how several processes leave to one of them what is done once."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager

import torch

from ..runtime import choose_device
from .packages import check_packages


def chosen_device(name: str) -> torch.device:
    """The device of --device NAME.

    Raises:
        UsageError: it is not there.
    """
    return choose_device(None if name == "auto" else name)


def is_first() -> bool:
    """Whether this is the only process, or the first one of all."""
    return os.environ.get("RANK", "0") == "0"


def first_goes_first(device: torch.device) -> AbstractContextManager[None]:
    """Within the block, the other processes wait for the first one.

    Raises:
        LavieError: accelerate is not installed.
    """
    check_packages("accelerate")
    from accelerate import PartialState

    return PartialState(cpu=device.type == "cpu").main_process_first()


def print_once(line: str) -> None:
    """Print a line to standard error, from the first process only."""
    if is_first():
        print(f"lavie train: {line}", file=sys.stderr)
