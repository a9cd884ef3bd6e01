"""A report of which files can be used for training and which cannot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ...errors import printable
from ..settings import Filters

__all__ = ["DataReport", "Filters"]

SHOWN = 5


@dataclass
class DataReport:
    """What happened to the files of a source: kept, dropped by a filter, or broken.

    dropped: reason → names. broken: (name, reason) of every file that cannot be read.
    """

    name: str
    kept: int = 0
    dropped: dict[str, list[str]] = field(default_factory=dict)
    broken: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def drop(self, name: str, reason: str) -> None:
        self.dropped.setdefault(reason, []).append(name)

    def text(self) -> str:
        """A few lines for people: counts by reason, and the broken files by name."""
        lines = [f"{self.name}: {self.kept} kept, {sum(map(len, self.dropped.values()))} dropped, "]
        lines[0] += f"{len(self.broken)} broken"
        for reason, names in self.dropped.items():
            lines.append(f"  {len(names)} dropped, {reason}: {_some(names)}")
        lines += [f"  broken, {name}: {reason}" for name, reason in self.broken]
        return printable("\n".join([*lines, *(f"  {note}" for note in self.notes)]))

    def json(self) -> dict[str, Any]:
        """The same for programs, with all names."""
        broken = [{"name": name, "reason": reason} for name, reason in self.broken]
        counts = Counter({reason: len(names) for reason, names in self.dropped.items()})
        return {
            "name": self.name,
            "kept": self.kept,
            "dropped": dict(counts),
            "dropped_names": self.dropped,
            "broken": broken,
            "notes": self.notes,
        }


def _some(names: list[str]) -> str:
    more = f", … and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
