"""Files and folders that appear complete or not at all, and that one process at a time writes.

They are written under another name on the same disk, `.lavie-NAME.partial`, and renamed when they are done. Meanwhile
`.lavie-NAME.lock` is held, so whoever gets that lock may sweep what a killed process has left.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex

from safetensors import SafetensorError

from .errors import LavieError, UsageError
from .file_names import check_name
from .locks import is_abandoned, locked

PREFIX, SUFFIX = ".lavie-", ".partial"
OLDER, MOVING, LOCK = ".older", ".moving", ".lock"  # what is replaced; frames on their way; who writes
OBSOLETE = "obsolete.txt"
LONGEST = 200  # bytes of a name that still has room for the beginning and the ending
WAIT = 60.0  # seconds, for writers that are soon done
ANOTHER_FILE = "write to another file"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A context manager: a temporary name for a file or folder, which becomes `path` when the block ends, and is
    removed if the block fails. What was at `path` stays until then. Waits for another process that writes it.

    Raises:
        LavieError: it cannot be written.
        UsageError: Windows does not accept its name.
    """
    check_name(path)
    partial = partial_of(path)
    try:
        with held(path):
            try:
                yield partial
                _make_readable(partial)
                put_in_place(partial, path)
            finally:
                remove(partial)
    except (OSError, SafetensorError) as error:
        raise LavieError(f"{path} could not be written: {error}.") from error


@contextmanager
def claimed(path: Path, what: str = "", instead: str = ANOTHER_FILE) -> Iterator[None]:
    """Be the only process that writes a file or folder while the block runs, and sweep what killed ones left beside it.

    Args:
        what, instead: for the sentence: "PATH" by default, "write to another file".

    Raises:
        LavieError: another process is writing it (says which one, and what to do), or the disk is full.
        UsageError: the folder may not be written to, or Windows cannot hold the name.
    """
    check_name(path)
    with ExitStack() as stack:
        try:
            if stack.enter_context(held(path, what, instead, wait=0)):
                sweep(path.parent)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LavieError(f"{what or path} cannot be written: the disk is full.") from error
            folder = next(parent for parent in path.absolute().parents if parent.exists())
            reason = f"{folder} does not allow it ({error.strerror})"
            raise UsageError(f"{what or path} cannot be written: {reason}.") from error
        yield


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """An empty folder in the place that the system has for temporary ones; those of killed processes are removed."""
    path = Path(tempfile.gettempdir()) / token_hex(8)
    with claimed(path):
        folder = partial_of(path)
        folder.mkdir(0o700)
        try:
            yield folder
        finally:
            remove(folder)


@contextmanager
def held(path: Path, what: str = "", instead: str = ANOTHER_FILE, wait: float = WAIT) -> Iterator[bool]:
    """As `claimed`, but another process is waited for. Gives whether this thread did not hold it before.

    Raises:
        LavieError: another process is writing it still.
        OSError: the folder may not be written to.
    """
    with locked(_beside(path, LOCK), what or str(path), instead, wait) as is_outermost:
        if is_outermost:
            _sweep(_beside(path, ""), path)
        yield is_outermost


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder; what a running one has there stays."""
    for lock in list(folder.glob(f"{PREFIX}*{LOCK}")):
        with suppress(LavieError, OSError):  # taken meanwhile, or not ours to remove
            if _is_of_this_user(lock) and is_abandoned(lock):
                with locked(lock, str(lock), ANOTHER_FILE):
                    _sweep(folder / lock.name.removesuffix(LOCK))


def partial_of(path: Path) -> Path:
    """Where to write what will become `path`, on the same disk."""
    return _beside(path, SUFFIX)


def put_in_place(partial: Path, path: Path) -> None:
    """Rename a complete file or folder; it replaces an older one."""
    if not path.is_dir():
        os.replace(partial, path)
        return
    older = _beside(path, OLDER)
    remove(older)
    os.replace(path, older)
    os.replace(partial, path)
    remove(older)


def put_files_in_place(made: Path, path: Path, obsolete: Iterable[str]) -> None:
    """Moves all files of a folder into the one of `path`, after whose name they wait, and removes obsolete ones there.

    If the process is killed meanwhile, whoever claims `path` next moves the rest.
    """
    (made / OBSOLETE).write_text("\n".join(obsolete), encoding="utf-8")
    moving = _beside(path, MOVING)
    remove(moving)
    os.replace(made, moving)
    _move(moving)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def discard(folder: Path) -> None:
    """Remove a folder so that a kill meanwhile leaves no half of it under its name."""
    if folder.is_dir():
        partial = partial_of(folder)
        remove(partial)
        os.replace(folder, partial)
        remove(partial)


def _sweep(start: Path, path: Path | None = None) -> None:
    """Remove what begins like `start`: `.lavie-NAME`. path: what it is for, if the name does not say."""
    path = path or start.with_name(start.name.removeprefix(PREFIX))
    older, moving = (start.with_name(start.name + ending) for ending in (OLDER, MOVING))
    if older.exists() and not path.exists():  # killed between two renames
        os.replace(older, path)
    if moving.exists():
        _move(moving)
    remove(start.with_name(start.name + SUFFIX))
    remove(older)


def _move(moving: Path) -> None:
    for name in (moving / OBSOLETE).read_text(encoding="utf-8").splitlines():
        if Path(name).name == name:  # and not one that leads elsewhere
            (moving.parent / name).unlink(missing_ok=True)
    for file in sorted(moving.iterdir()):
        if file.name != OBSOLETE:
            os.replace(file, moving.parent / file.name)
    remove(moving)


def _is_of_this_user(file: Path) -> bool:
    return os.name == "nt" or file.lstat().st_uid == os.geteuid()


def _beside(path: Path, ending: str) -> Path:
    name = path.name
    if len(os.fsencode(name)) > LONGEST:
        name = blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return path.with_name(f"{PREFIX}{name}{ending}")


def _make_readable(path: Path) -> None:
    """By whom the user lets new files be read: safetensors 0.8 leaves files that nobody else may read."""
    mask = os.umask(0)
    os.umask(mask)
    for file in path.rglob("*") if path.is_dir() else (path,):
        if file.is_file():
            file.chmod(0o666 & ~mask)
