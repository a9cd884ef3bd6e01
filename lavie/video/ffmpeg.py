"""Runs the ffmpeg that comes with imageio-ffmpeg."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, cast

from ..bounded import MAX_ALLOCATION, MAX_OUTPUT, MAX_PIXELS
from ..errors import LavieError

# Containers that may be opened. Without this list a text file renamed to .mp4 could be a playlist that makes
# ffmpeg open other files; sound formats are here so that they are not mistaken for damaged videos.
_READABLE = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,gif,apng,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,mxf,yuv4mpegpipe,"
    "mp3,wav,flac,aac,aiff"
)
_LOG = 1 << 20  # bytes of a log that are read


def input_file(path: Path) -> list[str]:
    """ffmpeg's arguments to open a video, whatever its file name looks like."""
    pixels = ["-max_pixels", str(MAX_PIXELS)]
    return [*pixels, "-protocol_whitelist", "file", "-format_whitelist", _READABLE, "-i", f"file:{path}"]


class Ffmpeg:
    """One run of ffmpeg, as a context manager: leaving it before `finish` kills the run."""

    def __init__(self, arguments: list[str], **streams: Any) -> None:
        # Its own process group: Ctrl-C in the terminal reaches only us, and we stop ffmpeg and clean up.
        own_group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            own_group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        command = [executable(), "-hide_banner", "-v", "error", "-max_alloc", str(MAX_ALLOCATION), *arguments]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **streams}
        # Not a pipe: a long log would block it if nobody reads.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(command, stderr=self._log, **pipes, **own_group)

    def __enter__(self) -> Ffmpeg:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Stop it at once if it still runs; its output is to be discarded."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):  # the rest of the buffer cannot be written
                if pipe is not None:
                    pipe.close()
        self._log.close()

    @property
    def input(self) -> IO[bytes]:
        """The pipe of `stdin=PIPE`."""
        return cast("IO[bytes]", self.process.stdin)

    @property
    def output(self) -> IO[bytes]:
        """The pipe of `stdout=PIPE`."""
        return cast("IO[bytes]", self.process.stdout)

    def finish(self) -> tuple[int, str]:
        """Wait for its end; returns exit code and error log."""
        code = self.process.wait()
        self._log.seek(0)
        return code, self._log.read(_LOG).decode(errors="replace")


def ffmpeg_output(arguments: list[str]) -> tuple[int, str, str]:
    """Run to the end; returns exit code, standard output and error log."""
    with Ffmpeg(arguments, stdout=subprocess.PIPE) as run:
        output = run.output.read(MAX_OUTPUT + 1).decode(errors="replace")
        if len(output) > MAX_OUTPUT:
            raise LavieError("A video was not opened: what it says of itself is far longer than any video's.")
        code, log = run.finish()
    return code, output, log


def executable() -> str:
    """The path of an ffmpeg that works.

    Raises:
        LavieError: there is none, or it cannot be run; names it.
    """
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        found = get_ffmpeg_exe()
    except ImportError as error:
        raise LavieError('Video files need the package imageio-ffmpeg: pip install "imageio-ffmpeg>=0.6".') from error
    except RuntimeError as error:
        raise LavieError(
            "There is no ffmpeg for this system. Install one, or name it in IMAGEIO_FFMPEG_EXE."
        ) from error
    _require_runs(found)
    return found


@cache
def _require_runs(program: str) -> None:
    """Raise LavieError if it does not tell its version; asked once in a process."""
    nowhere = subprocess.DEVNULL
    try:
        subprocess.run([program, "-version"], stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LavieError(
            f"ffmpeg cannot be run ({program}: {reason}). Install one, or name one that works in IMAGEIO_FFMPEG_EXE."
        ) from error
