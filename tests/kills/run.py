"""Kills commands at moments drawn at random: before the n-th thing that they do to a file, or after so much work."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

from lavie.cli import main

from .commands import COMMANDS, Command, copy_of

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
TOUCHES = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.truncate",
    "os.chmod",
    "subprocess.Popen",
    "shutil.rmtree",
)
PATIENCE = 60  # seconds until an ffmpeg without its parent must have ended, on a busy machine


@dataclass(frozen=True)
class Moment:
    """When to kill: before a touch of a file (counted from 1), or after seconds of one core; neither: never.

    interrupts: Ctrl-C, then, which the command gets to see.
    """

    touch: int = 0
    seconds: float = 0.0
    interrupts: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command ended. status: its exit code, negative for a signal's number."""

    status: int
    touches: int
    seconds: float
    said: str


@dataclass(frozen=True)
class Whole:
    """What a command does that nobody stops."""

    ended: Ended
    results: dict[str, bytes]
    listing: list[str]


def run_in_child(arguments: list[str], folder: Path, notes: Path, moment: Moment | None = None) -> Ended:
    """Run a command in a child that has all packages loaded, and kill it at a moment."""
    log = notes / "log"
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = _as_child(arguments, folder, notes, moment or Moment())
        finally:
            sys.stderr.flush()
            os._exit(status)
    _, status, usage = os.wait4(child, 0)
    touches = notes / "touches"
    return Ended(
        os.waitstatus_to_exitcode(status),
        int(touches.read_text()) if touches.exists() else 0,
        usage.ru_utime + usage.ru_stime,
        log.read_text(errors="replace"),
    )


def _as_child(arguments: list[str], folder: Path, notes: Path, moment: Moment) -> int:
    sys.stdout = sys.stderr = (notes / "log").open("w", buffering=1)
    for stream in (1, 2):
        os.dup2(sys.stderr.fileno(), stream)
    os.chdir(folder)
    count = 0

    def touched(event: str, values: tuple) -> None:
        nonlocal count
        if _is_touch(event, values, str(folder)):
            count += 1
            if count == moment.touch:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(touched)
    if moment.seconds:
        # By default it ends the process as SIGKILL does: nothing of its own runs any more.
        signal.signal(signal.SIGPROF, _interrupt if moment.interrupts else signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, moment.seconds)
    status = main(arguments)
    (notes / "touches").write_text(str(count))
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _is_touch(event: str, values: tuple, folder: str) -> bool:
    if event == "open":
        name, _, flags = values
        return isinstance(flags, int) and bool(flags & WRITES) and _is_inside(name, folder)
    return event in TOUCHES and _is_inside(values[0], folder)


def _is_inside(name: object, folder: str) -> bool:
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    text = os.fspath(name) if isinstance(name, (str, os.PathLike)) else ""
    return bool(text) and (not os.path.isabs(text) or text.startswith(folder) or "ffmpeg" in text)


def whole_run(name: str, world: Path, folder: Path) -> Whole:
    """What the command does that nobody stops."""
    command = COMMANDS[name]
    place = copy_of(world, command, folder / "place")
    ended = run_in_child(command.arguments, place, folder)
    assert ended.status == 0, ended.said
    found = Whole(ended, results_of(command, place), listing(place))
    shutil.rmtree(place)
    return found


def drawn(number: int, whole: dict[str, Whole]) -> tuple[str, Moment]:
    """The command and the moment of a kill, by its number: each command in turn, each kind in turn."""
    names = list(COMMANDS)
    name, random = names[number % len(names)], Random(number)
    ended = whole[name].ended
    kind = number // len(names) % 3
    if kind == 0:
        return name, Moment(touch=random.randint(1, ended.touches))
    return name, Moment(seconds=random.uniform(0.001, ended.seconds), interrupts=kind == 2)


def failure(name: str, moment: Moment, whole: Whole, world: Path, folder: Path) -> str:
    """What is wrong after a kill, or after the run that follows it; empty if nothing."""
    command = COMMANDS[name]
    place = copy_of(world, command, folder / "place")
    before, inputs = results_of(command, place), contents(place, command)
    killed = run_in_child(command.arguments, place, folder, moment)
    if killed.status > 0 and not (
        moment.interrupts and killed.status == 130 and killed.said.count("lavie: error") == 1
    ):
        return f"it ended with {killed.status}: {killed.said}"
    wrong = "a traceback is shown" if "Traceback" in killed.said else _half_written(command, place, before, whole)
    if moment.interrupts and (left := [name for name in listing(place) if ".lavie-" in name]):
        wrong = wrong or f"Ctrl-C left {left}"
    wrong = wrong or ("an input has changed" if contents(place, command) != inputs else "")
    again = run_in_child(command.arguments, place, folder)
    if again.status != 0:
        wrong = wrong or f"the next run ended with {again.status}: {again.said}"
    wrong = wrong or _orphans(place)
    if results_of(command, place) != whole.results:
        wrong = wrong or "the next run made something else"
    if listing(place) != whole.listing:
        wrong = wrong or f"left: {sorted({*listing(place)} ^ {*whole.listing})}"
    shutil.rmtree(place)
    return wrong


def _half_written(command: Command, place: Path, before: dict[str, bytes], whole: Whole) -> str:
    """A file is the older one or the new one; frames on their way into a folder are moved on by the next run."""
    if any(place.rglob("*.moving")):
        return ""
    found = results_of(command, place)
    return "" if found in (before, whole.results) or _in_parts(found, before, whole.results) else "it is half-written"


def _in_parts(found: dict[str, bytes], before: dict[str, bytes], after: dict[str, bytes]) -> bool:
    """Several files, each of them whole: a network and its config."""
    return ".json" in "".join(after) and all(found.get(name) in (before.get(name), after[name]) for name in after)


def results_of(command: Command, place: Path) -> dict[str, bytes]:
    """The content of every file of the results; of a video and its frames what they show follows from it."""
    files = [file for name in command.results for file in (place / name, *(place / name).rglob("*")) if file.is_file()]
    names = {str(file.relative_to(place)): file for file in files}
    return {name: _content(file) for name, file in names.items() if not re.search(r"(^|/)\.|\.parts/", name)}


def contents(place: Path, command: Command) -> dict[str, bytes]:
    """The content of every input."""
    inputs = ("in", "first", "images", "in.mp4", "network.safetensors")
    files = [file for name in inputs for file in (place / name, *(place / name).rglob("*")) if file.is_file()]
    return {str(file.relative_to(place)): file.read_bytes() for file in files}


def listing(place: Path) -> list[str]:
    """Everything in the place, but for what carries a time in its name."""
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if "tensorboard" not in str(path))


def _content(file: Path) -> bytes:
    """A LoRA says when it was made: without that."""
    content = file.read_bytes()
    if file.suffix != ".safetensors":
        return content
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    for key in ("modelspec.date", "ss_training_finished_at"):
        header.get("__metadata__", {}).pop(key, None)
    return json.dumps(header, sort_keys=True).encode() + content[8 + length :]


def _orphans(place: Path) -> str:
    """Programs that still work in the place, if they do not end."""
    began = time.monotonic()
    while found := [pid for pid in os.listdir("/proc") if pid.isdecimal() and _works_in(pid, place)]:
        if time.monotonic() - began > PATIENCE:
            return f"processes that do not end: {found}"
        time.sleep(0.1)
    return ""


def _works_in(pid: str, place: Path) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(place.resolve())
    except OSError:
        return False
