"""Folders of videos or images, each with its caption in a .txt file of the same name."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from .decode import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from .entries import Entry, read_caption
from .files import ImageFiles, VideoFiles
from .filters import DataReport, Filters


class VideoFolder(VideoFiles):
    """The videos of a folder and its subfolders, in the order of their names; for the arguments see `VideoFiles`.

    Raises:
        UsageError: no such folder, or no usable video in it.
    """

    def __init__(
        self,
        folder: Path,
        filters: Filters = Filters(),  # noqa: B008 (frozen)
        probe: bool = True,
        cut_scenes: bool = False,
        cache: Path | None = None,
        name: str | None = None,
    ) -> None:
        name = name or str(folder)
        report = DataReport(name)
        entries = _entries(folder, VIDEO_SUFFIXES, report)
        super().__init__(name, entries, report, filters, probe, cut_scenes, cache)


class ImageFolder(ImageFiles):
    """The images of a folder and its subfolders, in the order of their names.

    Raises:
        UsageError: no such folder, or no usable image in it.
    """

    def __init__(
        self,
        folder: Path,
        filters: Filters = Filters(),  # noqa: B008 (frozen)
        probe: bool = True,
        name: str | None = None,
    ) -> None:
        name = name or str(folder)
        report = DataReport(name)
        super().__init__(name, _entries(folder, IMAGE_SUFFIXES, report), report, filters, probe)


def _entries(folder: Path, suffixes: tuple[str, ...], report: DataReport) -> list[Entry]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder.")
    paths = sorted(
        (path for path in folder.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith(".")),
        key=lambda path: path.relative_to(folder).as_posix(),
    )
    if not paths:
        raise UsageError(f"{folder} holds no files that end in {', '.join(suffixes)}.")
    entries = (_entry(path, path.relative_to(folder).as_posix(), report) for path in paths)
    return [entry for entry in entries if entry is not None]


def _entry(path: Path, name: str, report: DataReport) -> Entry | None:
    try:
        return Entry(path, name, read_caption(path.with_suffix(".txt")))
    except FileNotFoundError:
        report.drop(name, "no .txt file with its caption")
    except ValueError:
        report.drop(name, "caption that is not UTF-8")
    except OSError as error:
        report.broken.append((name, f"its caption cannot be read ({error.strerror})"))
    return None
