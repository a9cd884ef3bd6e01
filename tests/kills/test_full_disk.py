"""A full disk is told in a sentence; what was there stays, nothing else does, and with room the command goes on."""

import re
import shutil
import subprocess
import sys

import pytest

import lavie.pipelines
import lavie.training.lora  # noqa: F401 (loaded once, before the forks)
from kills.commands import COMMANDS, copy_of, make_world
from kills.run import contents, listing, results_of, run_in_child, whole_run

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs fork and tmpfs"),
    pytest.mark.usefixtures("one_thread"),
]
pytest.importorskip("accelerate")

WRITERS = ("generate", "generate --video", "upscale", "convert", "train lora")
AT_ONCE = [("generate --video", 2), ("train lora", 2)]  # the disk fills up in the middle
LATER = [pytest.param(name, 2, marks=pytest.mark.slow) for name in ("generate", "upscale", "convert")]
MEGABYTES, PAGE = 24, 4096
FULL = re.compile(r"lavie: error: .*(disk is full|No space left on device|file write|os error 28).*\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk (tmpfs) can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk, pages):
    """Leave so many pages free."""
    with (disk / "filling").open("wb") as file:
        while (free := shutil.disk_usage(disk).free) > pages * PAGE:
            file.write(bytes(min(1 << 20, free - pages * PAGE)))
            file.flush()


@pytest.mark.parametrize(("name", "pages"), [*((name, 0) for name in WRITERS), *AT_ONCE, *LATER])
def test_a_full_disk_loses_nothing_and_with_room_the_command_goes_on(name, pages, world, disk, tmp_path):
    command, notes = COMMANDS[name], tmp_path / "notes"
    notes.mkdir()
    place = copy_of(world, command, disk / "place")
    before, there, inputs = results_of(command, place), listing(place), contents(place, command)
    fill(disk, pages)
    ended = run_in_child(command.arguments, place, notes)
    assert ended.status in (1, 2)
    assert FULL.fullmatch(ended.said.splitlines(keepends=True)[-1]), ended.said
    assert results_of(command, place) == before
    assert contents(place, command) == inputs
    assert [path for path in listing(place) if ".lavie-" in path] == []
    if pages == 0:
        assert listing(place) == there
        return
    (disk / "filling").unlink()
    again, whole = run_in_child(command.arguments, place, notes), whole_run(name, world, tmp_path)
    assert again.status == 0, again.said
    assert results_of(command, place) == whole.results
    assert listing(place) == whole.listing
