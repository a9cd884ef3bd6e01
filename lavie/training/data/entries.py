"""Captioned files that are not opened yet: what folders and tables have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ...bounded import read_bytes
from ...errors import LavieError, UsageError
from .filters import DataReport, Filters


@dataclass(frozen=True)
class Entry:
    """A file and its caption.

    name: for messages. start, end: the part of a video, in seconds. height, width, aesthetic: from a table.
    """

    path: Path
    name: str
    caption: str
    start: float = 0.0
    end: float | None = None
    height: float | None = None
    width: float | None = None
    aesthetic: float | None = None


def fit_entries(
    entries: list[Entry], filters: Filters, report: DataReport, images: bool = False, probe: Probe | None = None
) -> list[Entry]:
    """The entries that pass the filters; the others are counted in the report. Cheap checks come first.

    probe: reads from a file what no table said; it counts broken files itself and returns None for them.

    Raises:
        UsageError: nothing is left.
    """
    kept = []
    for entry in entries:
        reason = filters.refusal(entry.caption, None, entry.height, entry.width, entry.aesthetic)
        if reason is None and filters.min_aesthetic is not None and entry.aesthetic is None:
            reason = "no aesthetic score"
        if reason is None:
            kept.append(entry)
        else:
            report.drop(entry.name, reason)
    if probe is not None:
        kept = probe(kept, filters, report)
    report.kept += len(kept)
    if not kept:
        kind = "images" if images else "videos"
        raise UsageError(f"No {kind} are left to train on.\n{report.text()}")
    return kept


Probe = Callable[[list[Entry], Filters, DataReport], list[Entry]]


def digest(entries: list[Entry]) -> str:
    """Changes with any path, size, caption or segment."""
    whole = blake2b(digest_size=16)
    for entry in entries:
        size = entry.path.stat().st_size if entry.path.exists() else -1
        whole.update(repr((entry.name, size, entry.caption, entry.start, entry.end)).encode())
    return whole.hexdigest()


def read_caption(path: Path) -> str:
    """A sidecar's text on one line: UTF-8, or UTF-16 with its mark.

    Raises:
        ValueError: another encoding, which would garble the words.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        return caption_text(read_bytes(path))
    except LavieError as error:
        raise ValueError(str(error)) from error


def caption_text(content: bytes) -> str:
    """`read_caption` for a file's content."""
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = content.decode(encoding)
    if "\0" in text:
        raise ValueError("the text holds NUL characters")
    return " ".join(text.split())
