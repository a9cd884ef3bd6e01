"""Where a video may be written, and the work folder beside it."""

from __future__ import annotations

import os
from pathlib import Path

from ..atomic import new_work_folder
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


def make_work_folder(target: Target) -> Path:
    """A new folder beside the target, on its disk.

    Raises:
        UsageError: the output folder is missing or cannot be written to.
    """
    if isinstance(target, Path):
        parent = target.parent
    else:
        new = target.whole_folder and not target.folder.exists()
        parent = target.folder.parent if new else target.folder
    if not parent.is_dir():
        raise UsageError(f"The output folder {parent} does not exist.")
    try:
        return new_work_folder(parent)
    except OSError as error:
        raise UsageError(f"The output folder {parent} cannot be written to ({error.strerror}).") from error
