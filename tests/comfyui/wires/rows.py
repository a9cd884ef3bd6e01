"""Lines of the table of what an artist can wire into LaVie.

A graph is a list of steps, a node's id and its inputs; widgets that are not named stand at their defaults. "$model" and
the like are LaVie's own (see `__main__.py`), "@0" is the first output of step 0, "@0.1" its second.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ACTS, SAME, REFUSED, WORKS = "acts", "runs, same video", "refused", "works"
Step = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    steps: the graph. ours, core: what happens in LaVie's samplers, and in KSampler. says: a part of the sentence, where
    it is refused. note: for the reader. shown: the node of this line, by default that of the last step. beside: what
    else is wired into the samplers, also without this node. made: a thing in place of a graph's output, where the node
    itself needs large models.
    """

    steps: tuple[Step, ...]
    ours: str
    core: str
    note: str = ""
    says: str = ""
    pack: str = ""
    shown: str = ""
    beside: dict[str, Any] = field(default_factory=dict)
    made: str = ""

    @property
    def node(self) -> str:
        return self.shown or self.steps[-1][0]

    def key(self, section: str) -> str:
        """A name that no other line has."""
        return f"{section}/{self.node}/{self.note}"


@dataclass(frozen=True)
class Section:
    """Lines with the same socket: what the last step puts out goes into `socket` of both samplers."""

    title: str
    socket: str
    rows: tuple[Row, ...] = field(default=())


def on_model(node: str, ours: str, core: str, note: str = "", says: str = "", **inputs: Any) -> Row:
    return Row(((node, {"model": "$model", **inputs}),), ours, core, note, says)


def on_text(node: str, ours: str, core: str, note: str = "", says: str = "", **inputs: Any) -> Row:
    return Row(((node, inputs),), ours, core, note, says)


def of_control(node: str, note: str, **inputs: Any) -> Row:
    """With a model of widths that ComfyUI's ControlNets can have."""
    return Row(((node, inputs),), ACTS, ACTS, note, beside={"model": "$small"})


def chain(*steps: Step, ours: str, core: str, **more: Any) -> Row:
    return Row(steps, ours, core, **more)


NO_PART = "LaVie's network has no such part"
BOTH = {"positive": "$positive", "negative": "$negative"}
