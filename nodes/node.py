"""Gives ComfyUI what it asks of every node, from what the node declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..lavie.errors import in_words
from . import host
from .widgets import Input

FPS = ("FLOAT", "Frames per second.")  # an output of nodes that make frames


class Node:
    """A node of the graph. A subclass's docstring is its description; ComfyUI's attributes are in capitals.

    title: as on the node. inputs: by name; one whose choices are files is a function, as these come and go. optional:
    the inputs that may be missing. outputs: types and tooltips by name, in the order in which `run` returns them.
    """

    CATEGORY = "LaVie"
    FUNCTION = "execute"
    advice: ClassVar[str] = "Make the video smaller or shorter, or close other programs."  # if memory is not enough
    title: ClassVar[str]
    inputs: ClassVar[dict[str, Input | Callable[[], Input]]] = {}
    optional: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[dict[str, tuple[str, str]]] = {}

    def __init_subclass__(cls) -> None:
        cls.DESCRIPTION = " ".join((cls.__doc__ or "").split())
        cls.RETURN_NAMES = tuple(cls.outputs)
        cls.RETURN_TYPES = tuple(kind for kind, _ in cls.outputs.values())
        cls.OUTPUT_TOOLTIPS = tuple(tooltip for _, tooltip in cls.outputs.values())

    def execute(self, **inputs: Any) -> Any:
        """`run`, whose errors of the system become sentences; a card without memory is for the host."""
        try:
            with host.telling():
                return self.run(**inputs)
        except Exception as error:
            told = None if host.is_card_out_of_memory(error) else in_words(error, self.advice)
            if told is None:
                raise
            raise told from error

    def run(self, **inputs: Any) -> Any:
        """What the node does."""
        raise NotImplementedError

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802 (ComfyUI's name)
        known = {name: spec() if callable(spec) else spec for name, spec in cls.inputs.items()}
        return {
            "required": {name: spec for name, spec in known.items() if name not in cls.optional},
            "optional": {name: known[name] for name in cls.optional},
        }
