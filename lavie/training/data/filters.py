"""Which clips are fit for training (paper, section 4), and the account of those that are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

SHOWN = 5


@dataclass(frozen=True)
class Filters:
    """The least that a clip must have; 0 or None asks for nothing.

    min_frames: of videos, at the file's own rate. min_words: of the caption. min_height, min_width: pixels.
    min_aesthetic: the score in the data's own column, on that column's scale.
    """

    min_frames: int = 16
    min_words: int = 3
    min_height: int = 0
    min_width: int = 0
    min_aesthetic: float | None = None

    def refusal(
        self,
        caption: str | None = None,
        frames: int | None = None,
        height: float | None = None,
        width: float | None = None,
        aesthetic: float | None = None,
    ) -> str | None:
        """Why a clip is dropped, or None; what is not known (None) is not judged."""
        if caption is not None and len(caption.split()) < self.min_words:
            return f"caption of fewer than {self.min_words} words" if caption.strip() else "no caption"
        if aesthetic is not None and self.min_aesthetic is not None and not aesthetic >= self.min_aesthetic:
            return f"aesthetic score below {self.min_aesthetic:g}"
        if height is not None and width is not None and (height < self.min_height or width < self.min_width):
            return f"smaller than {self.min_height}x{self.min_width}"
        if frames is not None and frames < self.min_frames:
            return f"fewer than {self.min_frames} frames"
        return None


@dataclass
class DataReport:
    """What became of the files of a source: kept, dropped by a filter, or broken.

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
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def json(self) -> dict[str, Any]:
        """The same for programs, names in full."""
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
