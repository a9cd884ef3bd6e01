"""Words on the node that runs: sentences that stay, and what it is doing."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from .devices import comfy, required

log = logging.getLogger(__name__)

PATIENCE = 2.0  # seconds before a node says what it is doing: a quick one need not


@dataclass
class Told:
    """What one run of a node has said. began: a time of `time.monotonic`."""

    began: float
    sentences: list[str] = field(default_factory=list)
    busy: bool = False


_told: ContextVar[Told | None] = ContextVar("told", default=None)


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """A context manager: the run of one node."""
    told = Told(time.monotonic())
    token = _told.set(told)
    try:
        yield
        if told.busy:
            _show([*told.sentences, f"done in {time.monotonic() - told.began:.0f} s"])
    finally:
        _told.reset(token)


def note(sentence: str, level: int = logging.WARNING) -> None:
    """Show a sentence on the node that runs, as ComfyUI's own nodes show theirs, and in the log at this level."""
    log.log(level, "LaVie: %s", sentence)
    told = _told.get()
    kept = [] if told is None else told.sentences
    kept.append(sentence)
    _show(kept)


def doing(words: str) -> None:
    """Show what the node does now, below its sentences, if it has been running for a while."""
    told = _told.get()
    if told is not None and time.monotonic() - told.began >= PATIENCE:
        told.busy = True
        _show([*told.sentences, words])


def _show(lines: list[str]) -> None:
    execution = comfy("comfy_execution.utils")
    context = None if execution is None else execution.get_executing_context()
    if context is not None:
        required("server").PromptServer.instance.send_progress_text("\n".join(lines), context.node_id)
