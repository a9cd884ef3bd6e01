"""Checks before a run that it fits on the disk."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...errors import UsageError

PNG_SHARE = 0.6  # of the raw pixels' size; drawings take half of that, grainy videos more
VIDEO_SHARE = 0.1
GIF_SHARE = 0.4


def needed_bytes(output: str | os.PathLike[str], pixels_of_segments: int, pixels_of_video: int) -> int:
    """Estimated bytes for the segments still to be made and the output, by their number of pixels."""
    suffix = os.path.splitext(os.fspath(output))[1].lower()
    share = {".mp4": VIDEO_SHARE, ".webm": VIDEO_SHARE, ".gif": GIF_SHARE}.get(suffix, PNG_SHARE)
    return int(3 * (PNG_SHARE * pixels_of_segments + share * pixels_of_video))


def check_disk_space(folder: Path, needed: int) -> None:
    """Raise UsageError if the disk of a folder has fewer free bytes than needed."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UsageError(
            f"The run needs about {_size(needed)} of disk space in {folder.absolute()}, where {_size(free)} are free. "
            "Make room, or write to another disk."
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
