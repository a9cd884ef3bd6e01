"""CSV tables of videos or images.

Columns: `path`, `video` or `image`; `caption` or `text`; optionally `start` and `end` (seconds), `aesthetic`, `width`
and `height`. Other columns are ignored.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

from ...bounded import regular_size
from ...errors import LavieError, UsageError
from .decode import IMAGE_SUFFIXES
from .entries import Entry
from .files import ImageFiles, VideoFiles
from .filters import DataReport, Filters

PATHS = ("path", "video", "image")
CAPTIONS = ("caption", "text")
NUMBERS = ("start", "end", "aesthetic", "width", "height")


class VideoTable(VideoFiles):
    """The videos of a table, or the parts of them between `start` and `end`; paths are relative to the table.

    Raises:
        UsageError: the table cannot be read, lacks a column, or no video of it is fit.
    """

    def __init__(
        self,
        file: Path,
        filters: Filters = Filters(),  # noqa: B008 (frozen)
        probe: bool = True,
        cut_scenes: bool = False,
        cache: Path | None = None,
        name: str | None = None,
    ) -> None:
        name = name or str(file)
        report = DataReport(name)
        super().__init__(name, read_table(file, report), report, filters, probe, cut_scenes, cache)


class ImageTable(ImageFiles):
    """The images of a table; paths are relative to the table. Raises as `VideoTable`."""

    def __init__(
        self,
        file: Path,
        filters: Filters = Filters(),  # noqa: B008 (frozen)
        probe: bool = True,
        name: str | None = None,
    ) -> None:
        name = name or str(file)
        report = DataReport(name)
        super().__init__(name, read_table(file, report), report, filters, probe)


def read_table(file: Path, report: DataReport) -> list[Entry]:
    """The rows of a table; rows that make no sense are counted as broken.

    Raises:
        UsageError: it cannot be read, or has no column of files or captions.
    """
    try:
        if file.exists():
            regular_size(file)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, restval="")
            columns = [str(column).strip().lower() for column in table.fieldnames or ()]
            table.fieldnames = columns
            path, caption = (_column(file, columns, names) for names in (PATHS, CAPTIONS))
            rows = list(table)
    except OSError as error:
        raise UsageError(f"{file} cannot be opened ({error.strerror}).") from error
    except UsageError:
        raise
    except LavieError as error:
        raise UsageError(str(error)) from error
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{file} is no table in CSV and UTF-8 ({error}).") from error
    entries = (_entry(file, line, row, path, caption, report) for line, row in enumerate(rows, 1))
    return [entry for entry in entries if entry is not None]


def lists_images(file: Path) -> bool:
    """Whether a table lists images: by the name of its column, or of the first file. Raises as `read_table`."""
    entries = read_table(file, DataReport(str(file)))
    with file.open(encoding="utf-8-sig", newline="") as lines:
        columns = [column.strip().lower() for column in next(csv.reader(lines), [])]
    if "path" not in columns:
        return "image" in columns and "video" not in columns
    return bool(entries) and entries[0].path.suffix.lower() in IMAGE_SUFFIXES


def _column(file: Path, columns: list[str], names: tuple[str, ...]) -> str:
    found = next((name for name in names if name in columns), None)
    if found is None:
        there = ", ".join(columns) or "nothing"
        raise UsageError(f"{file} needs a column '{names[0]}' (or {', '.join(names[1:])}); its first line has {there}.")
    return found


def _entry(file: Path, line: int, row: dict, path: str, caption: str, report: DataReport) -> Entry | None:
    name = f"row {line} ({row[path].strip() or 'no file'})"
    try:
        numbers = {key: _number(key, row.get(key)) for key in NUMBERS}
    except ValueError as error:
        report.broken.append((name, str(error)))
        return None
    start, end = numbers.pop("start") or 0.0, numbers.pop("end")
    if not row[path].strip() or start < 0 or (end is not None and end <= start):
        report.broken.append(
            (name, "it names no file" if not row[path].strip() else f"{start:g} to {end} s is no time")
        )
        return None
    text = " ".join(row[caption].split())
    return Entry(file.parent / row[path].strip(), name, text, start, end, **numbers)


def _number(key: str, text: str | None) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"its {key} is no number: '{text}'")
    return value
