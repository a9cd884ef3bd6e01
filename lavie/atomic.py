"""Files and folders that appear complete or not at all.

They are written under another name on the same disk, `.lavie-….partial`, and renamed when they are done.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from .errors import LavieError, UsageError
from .file_names import check_name

PREFIX, SUFFIX = ".lavie-", ".partial"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write a file under, or to make a folder by; it becomes `path` when the block ends, and vanishes when it
    fails. What was at `path` before stays until then.

    Raises:
        LavieError: it cannot be written.
        UsageError: Windows cannot hold its name.
    """
    check_name(path)
    partial = partial_of(path, str(os.getpid()))  # two processes may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _make_readable(partial)
        put_in_place(partial, path)
    except (OSError, SafetensorError) as error:
        raise LavieError(f"{path} could not be written: {error}.") from error
    finally:
        remove(partial)


def check_can_write(path: Path) -> None:
    """Check that a file or folder can be made there, before any work is done.

    Raises:
        UsageError: the folder may not be written to, or Windows cannot hold the name.
    """
    check_name(path)
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        remove(new_work_folder(folder))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {folder} does not allow it ({error.strerror}).") from error


def partial_of(path: Path, writer: str = "") -> Path:
    """Where to write what is to be `path`, on the same disk. writer: tells those apart that write at the same time."""
    return path.with_name(f"{PREFIX}{path.name}{'-' * bool(writer)}{writer}{SUFFIX}")


def put_in_place(partial: Path, path: Path) -> None:
    """Renames a whole file or folder; an older one goes."""
    if not path.is_dir():
        os.replace(partial, path)
        return
    older = partial_of(path, "older")
    remove(older)
    os.replace(path, older)
    os.replace(partial, path)
    remove(older)


def new_work_folder(parent: Path) -> Path:
    """A new empty folder of a name that nobody else has."""
    return Path(tempfile.mkdtemp(prefix=PREFIX, suffix=SUFFIX, dir=parent))


def remove(path: Path) -> None:
    """A file or a folder, if it is there and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _make_readable(path: Path) -> None:
    """By whom the user lets new files be read: safetensors 0.8 leaves files that nobody else may read."""
    mask = os.umask(0)
    os.umask(mask)
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file():
            file.chmod(0o666 & ~mask)
