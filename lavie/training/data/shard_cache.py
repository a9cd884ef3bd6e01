"""Files from http(s) addresses in a folder of limited size; the least recently used file is removed first."""

from __future__ import annotations

import os
import tarfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from hashlib import blake2b
from http.client import HTTPException
from pathlib import Path

from ...atomic import SUFFIX, partial_of, put_in_place
from ...bounded import MAX_SHARD
from .clip import UnreadableClip

ATTEMPTS = 3
TIMEOUT = 60.0  # seconds without a byte, after which a download is dead
CHUNK = 1 << 20
MAX_BYTES = 20 * 10**9


class ShardCache:
    """Downloads, shared by all processes that use the same folder.

    max_bytes: the limit for all files together; the newest one stays, however large it is.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def get(self, url: str) -> Path:
        """The file of an address, downloaded if it is not there.

        Raises:
            UnreadableClip: it cannot be downloaded.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{blake2b(url.encode(), digest_size=8).hexdigest()}-{Path(url.split('?')[0]).name}"
        partial = partial_of(file)
        while not self._touch(file):
            if self._claim(partial):
                try:
                    self._download(url, partial)
                    put_in_place(partial, file)
                finally:
                    partial.unlink(missing_ok=True)
                self._make_room(file)
            else:
                time.sleep(0.05)  # another process is downloading it
        return file

    def _touch(self, file: Path) -> bool:
        try:
            os.utime(file)
        except FileNotFoundError:
            return False
        return True

    def _claim(self, partial: Path) -> bool:
        """True for the one process that may write the file; a claim whose file has not grown for long is void."""
        try:
            partial.open("xb").close()
        except FileExistsError:
            with suppress(FileNotFoundError):
                if time.time() - partial.stat().st_mtime > 2 * TIMEOUT:
                    partial.unlink()
            return False
        return True

    def _download(self, url: str, partial: Path) -> None:
        failure: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                return _fetch(url, partial)
            except urllib.error.HTTPError as error:
                if error.code in (401, 403, 404, 410):
                    raise UnreadableClip(url, f"it cannot be downloaded ({error.code} {error.reason})") from error
                failure = error
            except (OSError, HTTPException, ValueError) as error:
                failure = error
            time.sleep(0.5 * 4**attempt)
        raise UnreadableClip(url, f"it cannot be downloaded ({failure})") from failure

    def _make_room(self, newest: Path) -> None:
        files = []
        for file in self.folder.iterdir():
            with suppress(FileNotFoundError):  # removed by another process
                state = file.stat()
                files.append((state.st_mtime, state.st_size, file))
        used = sum(size for _, size, _ in files)
        for _, size, file in sorted(files):
            if used <= self.max_bytes:
                return
            if file == newest or file.suffix == SUFFIX:
                continue
            with suppress(OSError):  # in use, on systems where that matters
                file.unlink()
            used -= size


def _fetch(url: str, partial: Path) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer, partial.open("wb") as file:  # nosec B310
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            if file.tell() > MAX_SHARD:
                raise UnreadableClip(url, f"it is larger than {MAX_SHARD >> 30} GB, which no shard is")
        expected, written = answer.headers.get("Content-Length"), file.tell()
    if expected is not None and written != int(expected):
        raise OSError(f"the connection broke after {written} of {expected} bytes")
    _require_tar(partial, whole=expected is None)


def _require_tar(file: Path, whole: bool) -> None:
    """Refuse what is no tar file: a page that says sorry must not be kept as a shard.

    whole: also one without its end, where the server did not say how long it is.
    """
    with file.open("rb") as content:
        first = content.read(tarfile.BLOCKSIZE)
        content.seek(max(0, file.stat().st_size - tarfile.BLOCKSIZE))
        last = content.read()
    try:
        tarfile.TarInfo.frombuf(first, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise OSError(f"the server answered with something else than a tar file: {error}") from error
    if whole and any(last):
        raise OSError(f"the connection broke after {file.stat().st_size} bytes")
