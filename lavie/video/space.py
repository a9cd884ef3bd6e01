"""Whether a video that is still to be made fits on its disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ..errors import UsageError

PNG_SHARE = 0.6  # of the raw pixels' size; drawings take half of that, grainy videos more
_SHARES = {".mp4": 0.1, ".mov": 0.1, ".mkv": 0.1, ".webm": 0.1, ".gif": 0.4}


def expected_bytes(path: str | os.PathLike[str], num_frames: int, height: int, width: int) -> int:
    """About how large a video becomes, going by the ending of its name."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    return int(3 * num_frames * height * width * _SHARES.get(ending, PNG_SHARE))


def check_space(folder: Path, needed: int) -> None:
    """Refuse (`UsageError`) to write that many bytes where fewer are free; a folder that is not there yet counts as its
    parent."""
    folder = folder.absolute()
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise UsageError(
            f"The run needs about {_size(needed)} of disk space in {folder}, where {_size(free)} are free. Make room, "
            "or write to another disk."
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
