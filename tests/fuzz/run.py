"""Runs mutants within bounds of time and memory, and keeps those that fail."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

from lavie.errors import LavieError

from .readers import MUTANTS, READERS

CORPUS = Path(__file__).parent / "corpus"
SECONDS, MEGABYTES = 2.0, 200.0  # of one core; above what the process had


def mutants(total: int = MUTANTS, seed: int = 0) -> Iterator[tuple[str, int]]:
    """Reader and number of every mutant; each reader has its share of the total."""
    for name, reader in READERS.items():
        for number in range(max(1, round(total * reader.share / MUTANTS))):
            yield name, seed + number


def content(name: str, number: int) -> bytes:
    """The file that a reader and a number stand for, the same on every machine."""
    reader = READERS[name]
    return reader.mutate(reader.seed(), Random(f"{name} {number}"))


def whole(name: str) -> bytes:
    """The file that a reader's mutants come from."""
    seed = READERS[name].seed()
    if isinstance(seed, bytes):
        return seed
    return (seed if isinstance(seed, str) else json.dumps(seed)).encode()


def failure(name: str, mutant: bytes, folder: Path) -> str:
    """What a reader does wrong with a file, or nothing: it reads it, or refuses it in a LavieError, within bounds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / f"a{READERS[name].suffix}"
    path.write_bytes(mutant)
    _forget_peak()
    before, began = _memory(), _cpu()
    wrong = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            READERS[name].read(path)
    except LavieError as error:
        if not str(error).replace("\n", "").replace("\t", "").isprintable():
            wrong = f"its message is not printable: {error!r}"
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"[:300]
    took, more = _cpu() - began, _memory() - before
    if took > SECONDS:
        wrong += f" It took {took:.1f} s."
    if more > MEGABYTES:
        wrong += f" It took {more:.0f} MB."
    return wrong


def keep(name: str, mutant: bytes, number: int) -> Path:
    """Write a mutant that failed into the corpus, which the tests replay for ever."""
    path = CORPUS / f"{name}-{number}{READERS[name].suffix}"
    path.write_bytes(mutant)
    return path


def warm_up(folder: Path) -> None:
    """Read every seed once, so that imports count neither as time nor as memory of a mutant."""
    for name in READERS:
        failure(name, whole(name), folder)


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _memory() -> float:
    """The most memory that the process has had, in MB; on Linux since `_forget_peak`."""
    if sys.platform != "linux":
        return 0.0
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def _forget_peak() -> None:
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
