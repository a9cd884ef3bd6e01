"""Sentences on the node that runs."""

from __future__ import annotations

import logging

from .devices import comfy, required

log = logging.getLogger(__name__)


def note(sentence: str, level: int = logging.WARNING) -> None:
    """Show a sentence on the node that runs, as ComfyUI's own nodes show theirs, and in the log at this level."""
    log.log(level, "LaVie: %s", sentence)
    execution = comfy("comfy_execution.utils")
    context = None if execution is None else execution.get_executing_context()
    if context is not None:
        required("server").PromptServer.instance.send_progress_text(sentence, context.node_id)
