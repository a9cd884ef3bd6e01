"""Names of files and folders that every system can hold."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import UsageError

# Devices of Windows, whatever the ending: writing to nul.mp4 writes nothing.
DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])\s*(\..*)?", re.IGNORECASE)
UNHEARD_OF = re.compile(r'[<>:"|?*\x00-\x1f]')  # characters that Windows does not take


def check_name(path: str | os.PathLike[str]) -> None:
    """Refuse a name for a new file or folder that Windows cannot hold, on every system, as files travel.

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
