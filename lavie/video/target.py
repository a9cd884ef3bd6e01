"""Where a video may be written, and by whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..atomic import claimed
from ..errors import UsageError
from ..file_names import check_name
from . import sequence

VIDEO_SUFFIXES = (".mp4", ".webm", ".gif", ".mov", ".mkv")
Target = Path | sequence.ImageSequence


def find_target(path: str | os.PathLike[str]) -> Target:
    """What to write and where, according to the name.

    Raises:
        UsageError: the name is of no known kind, or something else is in its place.
    """
    name = os.fspath(path)
    check_name(name)
    if name.endswith(("/", os.sep)):
        return _folder_target(Path(name))
    pattern = sequence.from_pattern(name)
    if pattern is not None and pattern.suffix.lower() == ".png":
        return pattern
    target = Path(name)
    if target.suffix.lower() not in VIDEO_SUFFIXES:
        raise UsageError(
            f"'{name}' does not tell what to write. End it in {', '.join(VIDEO_SUFFIXES)}, "
            "or name PNG frames as folder/ or name_%04d.png."
        )
    if target.is_dir():
        raise UsageError(f"{target} is a folder, so no video file can be written there.")
    return target


def _folder_target(folder: Path) -> sequence.ImageSequence:
    frames = sequence.ImageSequence(folder, whole_folder=True)
    if folder.is_dir():
        own = {*frames.files(), frames.note}
        other = sorted(file.name for file in folder.iterdir() if file not in own and file.name[0] != ".")
        if other:
            raise UsageError(f"{folder} holds other files ({other[0]}, …). Choose a new or empty folder.")
    elif folder.exists():
        raise UsageError(f"{folder} is a file, so no folder of frames can be written there.")
    return frames


@contextmanager
def claimed_target(target: Target) -> Iterator[Path]:
    """Be the only process that writes there while the block runs; gives the path beside which to work.

    Raises:
        UsageError: the output folder is missing or cannot be written to.
        LavieError: another process writes there; says which one.
    """
    place = _place(target)
    if not place.parent.is_dir():
        raise UsageError(f"The output folder {place.parent} does not exist.")
    with claimed(place, str(target)):
        yield place


def _place(target: Target) -> Path:
    """The file or new folder itself; in a folder that exists, a name for all frames of one series."""
    if isinstance(target, Path):
        return target
    if target.whole_folder and not target.folder.exists():
        return target.folder.absolute()
    return target.folder / f"{target.prefix}{target.suffix}"
