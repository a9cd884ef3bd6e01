"""Locks: no two processes write the same file, folder or run at once.

A lock is a small file that says who holds it. Where the disk allows it, the operating system locks that file, so the
lock ends with its process, however that ends. Where it does not (some network drives), the existence of the file is the
lock, and it counts as long as its process lives. What another computer wrote counts until somebody removes it.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from .errors import LavieError

GRACE = 10.0  # seconds that a dead process's children, or a lock that is being made, may take
PAUSE = 0.05
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_FLAGS = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)

_held: dict[str, tuple[int, int]] = {}  # by lock: the thread that holds it in this process, and how often
_table = threading.Lock()


@dataclass(frozen=True)
class Holder:
    """Who holds a lock. machine: the same in all containers of one computer, whatever their hosts are called."""

    pid: int
    host: str
    machine: str
    since: str

    def is_here(self) -> bool:
        """Whether it ran on this computer, so that the system's own lock says whether it lives."""
        return self.host == platform.node() or self.machine == _machine()

    def is_gone(self) -> bool:
        """Whether it is sure to have ended; this process's own number is an older one's, as in a container."""
        return self.host == platform.node() and (self.pid == os.getpid() or not _runs(self.pid))


@contextmanager
def locked(lock: Path, what: str, instead: str, wait: float = 0.0) -> Iterator[bool]:
    """Hold a lock while the block runs; gives False where this thread held it before, else True.

    Folders that are missing are made, and go again if they stay empty.

    Args:
        lock: the file; it is gone afterwards.
        what, instead: for the sentence: "OUT.mp4", "write to another file".
        wait: seconds to wait for another process.

    Raises:
        LavieError: another process, or thread, holds it.
        OSError: the lock cannot be written.
    """
    key = os.path.realpath(lock)
    with _table:
        owner, times = _held.get(key, (threading.get_ident(), 0))
        mine = owner == threading.get_ident()
        if mine:
            _held[key] = (owner, times + 1)
    if not mine:
        raise _refusal(Holder(os.getpid(), platform.node(), _machine(), ""), lock, what, instead)
    try:
        if times:
            yield False
            return
        made = _make_folders(lock.parent)
        try:
            descriptor = _acquired(lock, what, instead, wait)
            try:
                yield True
            finally:
                _release(descriptor, lock)
        finally:
            for folder in made:
                with suppress(OSError):  # something is in it
                    folder.rmdir()
    finally:
        with _table:
            if times:
                _held[key] = (owner, times)
            else:
                del _held[key]


def is_abandoned(lock: Path) -> bool:
    """Whether the process that made the lock has ended without removing it."""
    if os.path.realpath(lock) in _held:
        return False
    descriptor = _attempt(lock, create=False)
    if not isinstance(descriptor, int):
        return False
    os.close(descriptor)
    return True


def _acquired(lock: Path, what: str, instead: str, wait: float) -> int:
    began = time.monotonic()
    while not isinstance(found := _attempt(lock), int):
        patience = max(wait, GRACE) if found is None or found.is_gone() else wait
        if time.monotonic() - began >= patience:
            raise _refusal(found, lock, what, instead)
        time.sleep(PAUSE)
    return found


def _attempt(lock: Path, create: bool = True) -> int | Holder | None:
    """The lock's open file if it is ours now, else who holds it (None: it is just being made or removed)."""
    opened = _opened(lock, create)
    if opened is None:
        return None
    descriptor, is_new = opened
    taken = False
    try:
        free, found = _system_lock(descriptor), _read(descriptor)
        if free is False or not _is_at(descriptor, lock):
            return found
        if not is_new and not _is_left(found, descriptor, free):
            return found
        if create:
            _write(descriptor)
        taken = free is True or not create or _stays(descriptor, lock, is_new)
        return descriptor if taken else None
    except OSError:
        if is_new:  # the disk is full
            lock.unlink(missing_ok=True)
        raise
    finally:
        if not taken:
            os.close(descriptor)


def _opened(lock: Path, create: bool) -> tuple[int, bool] | None:
    """The lock's file, and whether it is new; None if it has just come or gone."""
    if create:
        with suppress(FileExistsError):
            return os.open(lock, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666), True
    try:
        return os.open(lock, _FLAGS), False
    except FileNotFoundError:
        return None
    except PermissionError:
        if sys.platform == "win32":  # it is being removed
            return None
        raise


def _is_left(found: Holder | None, descriptor: int, free: bool | None) -> bool:
    """Whether the lock's process is dead. free: that the system let us lock it; None: it cannot on this disk."""
    if found is None:  # killed before it said who it is
        return free is True or time.time() - os.fstat(descriptor).st_mtime > GRACE
    return found.is_here() if free else found.is_gone()


def _stays(descriptor: int, lock: Path, is_new: bool) -> bool:
    """Where the system knows no locks, two processes may take over a dead one's at the same moment: the last to write
    has it."""
    if not is_new:
        time.sleep(4 * PAUSE)
    found = _read(descriptor)
    return _is_at(descriptor, lock) and found is not None and found.pid == os.getpid() and found.is_here()


def _system_lock(descriptor: int) -> bool | None:
    """Whether the file is locked by us now; None where its disk knows no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # far behind what others read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _BUSY else None
    return True


def _release(descriptor: int, lock: Path) -> None:
    if sys.platform == "win32":
        os.close(descriptor)  # Windows removes no open file
        with suppress(OSError):  # somebody has it already
            lock.unlink()
        return
    with suppress(OSError):
        if _is_at(descriptor, lock):
            lock.unlink()
    os.close(descriptor)


def _is_at(descriptor: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(lock))
    except OSError:
        return False


def _read(descriptor: int) -> Holder | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        said = json.loads(os.read(descriptor, 4096))
        return Holder(int(said["pid"]), *(str(said[name]) for name in ("host", "machine", "since")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(descriptor: int) -> None:
    me = Holder(os.getpid(), platform.node(), _machine(), time.strftime("%Y-%m-%d %H:%M:%S"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(asdict(me)).encode())


def _refusal(holder: Holder | None, lock: Path, what: str, instead: str) -> LavieError:
    if holder is None:
        return LavieError(f"Another process is writing {what}. Wait until it is done, or {instead}.")
    if holder.pid == os.getpid() and holder.is_here():
        return LavieError(f"This process is writing {what} already. Wait until that is done, or {instead}.")
    who = f"Process {holder.pid} on {holder.host} has been writing {what} since {holder.since}."
    if holder.is_here():
        return LavieError(f"{who} Wait until it is done, stop it, or {instead}.")
    return LavieError(f"{who} Wait until it is done, or {instead}. If it no longer runs, remove {lock}.")


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder; returns what was made, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


@cache
def _machine() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def _runs(pid: int) -> bool:
    if sys.platform == "win32":
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x100000, False, pid)  # SYNCHRONIZE
        if handle:
            still = ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == 258  # WAIT_TIMEOUT
            ctypes.windll.kernel32.CloseHandle(handle)
            return still
        return ctypes.windll.kernel32.GetLastError() == 5  # access denied: it is somebody else's
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
