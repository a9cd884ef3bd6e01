"""Whenever a command is killed, inputs and older results stay, and the next run ends as if it had been the first."""

import os
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

import lavie.pipelines
import lavie.training.lora  # noqa: F401 (loaded once, before the forks)
from kills.commands import COMMANDS, copy_of, make_world
from kills.run import drawn, failure, listing, whole_run
from lavie.atomic import claimed, sweep
from lavie.cli import main
from lavie.training.run_state import claimed_run
from lavie.video import writing

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc"),
    pytest.mark.usefixtures("one_thread"),
]
pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """What every command does that nobody stops."""
    return {name: whole_run(name, world, tmp_path_factory.mktemp("whole")) for name in COMMANDS}


def test_a_command_that_is_killed_at_any_moment_loses_nothing_and_leaves_nothing(world, whole, tmp_path, pytestconfig):
    total, first = pytestconfig.getoption("--kills", 20), pytestconfig.getoption("--kills-from", 0)
    began, wrong = _work(), []
    for number in range(first, first + total):
        name, moment = drawn(number, whole)
        notes = tmp_path / str(number)
        notes.mkdir()
        said = failure(name, moment, whole[name], world, notes)
        if said:
            wrong.append(f"{number}: lavie {name}, {moment}: {said}")
    print(f"{total} kills from {first} in {_work() - began:.0f} s of one core", file=sys.stderr)
    assert not wrong, "\n".join(wrong)


def _work():
    """Seconds of one core, children included."""
    return sum(os.times()[:4])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_process_is_refused_before_any_work_and_changes_nothing(name, world, tmp_path, capfd, monkeypatch):
    command = COMMANDS[name]
    place = copy_of(world, command, tmp_path / "place")
    before = listing(place)
    with somebody_at_work(command, place) as pid:
        while_at_work = listing(place)
        monkeypatch.chdir(place)
        assert main(command.arguments) == 1
        said = capfd.readouterr().err
        assert f"Process {pid} on " in said
        assert re.search(r" since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\. Wait until it is done, stop it, or ", said)
        assert listing(place) == while_at_work
    assert listing(place) == [*before, *({"run"} & {*listing(place)})]


@contextmanager
def somebody_at_work(command, place):
    """Another process that writes the command's result, or trains in its run folder."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.chdir(place)
        if "-o" in command.arguments:
            work = writing(command.arguments[command.arguments.index("-o") + 1])
        else:
            work = claimed(Path("new.safetensors")) if "convert" in command.line else claimed_run(Path("run"))
        with work:
            os.write(write, b"!")
            signal.pause()
    os.read(read, 1)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(read)
    os.close(write)
    sweep(place)
    if (place / "run").exists():
        sweep(place / "run")
    if (place / "out").exists():
        sweep(place / "out")
