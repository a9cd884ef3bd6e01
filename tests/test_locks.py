"""Two processes never write the same thing at once, and a process that was killed is in nobody's way."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lavie import locks
from lavie.atomic import claimed, held, partial_of, written_whole
from lavie.errors import LavieError

ROOT = Path(__file__).resolve().parents[1]
HOLD = """
import sys, time
from pathlib import Path
from lavie.atomic import claimed, partial_of
with claimed(Path(sys.argv[1])):
    partial_of(Path(sys.argv[1])).write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")


@pytest.fixture
def other(tmp_path):
    """A process that is writing clip.mp4."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "clip.mp4"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(params=["a local disk", "a disk without locks"])
def disk(request, monkeypatch):
    if request.param == "a disk without locks":
        monkeypatch.setattr(locks, "_system_lock", lambda descriptor: None)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def enter(path, **options):
    with claimed(path, **options):
        pass


@pytest.mark.usefixtures("disk")
def test_the_second_process_is_told_who_writes_since_when_and_what_to_do(other, tmp_path):
    with pytest.raises(LavieError) as refused:
        enter(tmp_path / "clip.mp4")
    today = time.strftime("%Y-%m-%d ")
    start = f"Process {other.pid} on {platform.node()} has been writing {tmp_path / 'clip.mp4'} since {today}"
    assert str(refused.value).startswith(start)
    assert str(refused.value).endswith(". Wait until it is done, stop it, or write to another file.")
    enter(tmp_path / "other.mp4")
    assert files(tmp_path) == [".lavie-clip.mp4.lock", ".lavie-clip.mp4.partial"]


@pytest.mark.usefixtures("disk")
def test_what_a_killed_process_held_is_taken_over_and_what_it_left_is_swept(other, tmp_path):
    other.kill()
    other.wait()
    with claimed(tmp_path / "clip.mp4"):
        assert files(tmp_path) == [".lavie-clip.mp4.lock"]
    assert files(tmp_path) == []


def test_the_next_run_in_the_folder_sweeps_what_a_killed_one_left_whatever_it_writes(other, tmp_path):
    other.kill()
    other.wait()
    enter(tmp_path / "another.mp4")
    assert files(tmp_path) == []


@posix
@pytest.mark.parametrize("left", ["nothing", "a dead process's lock"])
def test_of_many_processes_one_at_a_time_is_inside(disk, left, tmp_path):
    if left != "nothing":
        said = {"pid": 2**22 + 1, "host": platform.node(), "machine": locks._machine(), "since": "yesterday"}
        (tmp_path / ".lavie-a.lock").write_text(json.dumps(said))
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            os._exit(_take_turns(tmp_path))
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert files(tmp_path) == ["turns"]
    assert (tmp_path / "turns").read_text() == "in out " * 12


def _take_turns(folder):
    for _ in range(3):
        with held(folder / "a"):
            for word in ("in ", "out "):
                with (folder / "turns").open("a") as turns:
                    turns.write(word)
                time.sleep(0.01)
    return 0


def test_a_thread_may_claim_again_what_it_holds_and_another_thread_may_not(tmp_path):
    said = []

    def meanwhile():
        try:
            enter(tmp_path / "a")
        except LavieError as refused:
            said.append(str(refused))

    with claimed(tmp_path / "a"):
        enter(tmp_path / "a")
        assert files(tmp_path) == [".lavie-a.lock"]
        thread = threading.Thread(target=meanwhile)
        thread.start()
        thread.join()
    assert said[0].startswith("This process is writing")
    assert files(tmp_path) == []


@pytest.mark.usefixtures("disk")
def test_another_computers_lock_counts_and_the_sentence_says_what_to_remove(tmp_path):
    lock = tmp_path / ".lavie-a.lock"
    lock.write_text(json.dumps({"pid": 1, "host": "render-7", "machine": "elsewhere", "since": "2026-01-01 10:00:00"}))
    with pytest.raises(
        LavieError, match=r"Process 1 on render-7 has been .* since 2026-01-01 10:00:00\. .*"
    ) as refused:
        enter(tmp_path / "a", what="the run in a", instead="name another folder")
    assert str(refused.value).endswith(f"or name another folder. If it no longer runs, remove {lock}.")
    lock.unlink()
    enter(tmp_path / "a")


def test_a_restarted_container_takes_over_its_own_number(tmp_path, monkeypatch):
    said = {"pid": os.getpid(), "host": platform.node(), "machine": locks._machine(), "since": "before"}
    (tmp_path / ".lavie-a.lock").write_text(json.dumps(said))
    monkeypatch.setattr(locks, "_system_lock", lambda descriptor: None)
    enter(tmp_path / "a")
    assert files(tmp_path) == []


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"pid": "x"}'])
def test_a_lock_whose_process_died_before_it_said_who_it_was_is_taken_over(content, tmp_path):
    (tmp_path / ".lavie-a.lock").write_text(content)
    enter(tmp_path / "a")
    assert files(tmp_path) == []


@posix
def test_children_of_a_killed_process_are_waited_for(tmp_path):
    script = HOLD.replace(
        "time.sleep(600)", "import os\n    if os.fork() == 0: time.sleep(1)\n    else: time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "a"], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout.readline() == "held\n"
    time.sleep(0.1)
    process.kill()
    process.wait()
    enter(tmp_path / "a")
    process.stdout.close()
    assert files(tmp_path) == []


def test_folders_that_were_made_for_a_lock_go_with_it(tmp_path):
    with claimed(tmp_path / "new" / "run" / "a"):
        assert files(tmp_path / "new" / "run") == [".lavie-a.lock"]
    assert files(tmp_path) == []


def test_a_name_as_long_as_the_disk_allows_can_be_claimed(tmp_path):
    file = tmp_path / ("ä" * 125 + ".json")
    with written_whole(file) as partial:
        partial.write_text("{}")
    assert files(tmp_path) == [file.name]


@pytest.mark.parametrize("killed", ["before", "after"])
def test_a_folder_is_whole_even_if_the_process_is_killed_between_two_renames(killed, tmp_path):
    folder, older = tmp_path / "vae", tmp_path / ".lavie-vae.older"
    for each, said in ((older, "older"), (partial_of(folder), "newer")):
        each.mkdir()
        (each / "weights").write_text(said)
    if killed == "after":
        partial_of(folder).rename(folder)
    enter(folder)
    assert files(tmp_path) == ["vae"]
    assert (folder / "weights").read_text() == ("older" if killed == "before" else "newer")
