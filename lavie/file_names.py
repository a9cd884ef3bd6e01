"""Names of files and folders that every operating system accepts."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import UsageError

# Devices of Windows, whatever the ending: writing to nul.mp4 writes nothing.
DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
UNHEARD_OF = re.compile(r'[<>:"|?*\x00-\x1f]')  # characters that Windows does not take


def check_name(path: str | os.PathLike[str]) -> None:
    """Refuse a name for a new file or folder that Windows does not accept, on every system, because files get copied.

    Characters that only Windows refuses are refused there alone.

    Raises:
        UsageError: it is a device's name, or ends in a dot or a space.
    """
    name = Path(path).name
    if DEVICES.fullmatch(name):
        raise UsageError(f"'{name}' is the name of a device on Windows, not of a file: choose another.")
    if name.strip(".") and name[-1] in ". ":
        raise UsageError(f"'{name}' ends in a dot or a space, which Windows drops: choose another name.")
    if os.name == "nt" and UNHEARD_OF.search(name):
        raise UsageError(f"'{name}' holds a character that Windows does not allow in names: choose another.")


def is_same_file(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two names stand for one file that exists."""
    return bool(set(identities(one)).intersection(identities(other)))


def identities(file: str | os.PathLike[str]) -> list[object]:
    """What an existing file has in common with its other names only; empty if it does not exist.

    That is how the system knows it, so links, `..`, and another case where its disk takes all cases, give the same; and
    the whole name, for disks that number no files.
    """
    try:
        state = os.stat(file)
    except OSError:
        return []
    place: list[object] = [(state.st_dev, state.st_ino)] if state.st_ino else []
    return [*place, os.path.normcase(os.path.realpath(file))]
