"""What is written appears whole or not at all, and what was there before stays until then."""

import os
import stat

import pytest

from lavie.atomic import put_in_place, written_whole
from lavie.errors import LavieError


def test_a_file_has_its_name_only_when_it_is_whole(tmp_path):
    file = tmp_path / "new" / "a.json"
    with written_whole(file) as partial:
        partial.write_text("{}")
        assert not file.exists()
    assert file.read_text() == "{}"
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path, failure):
    file = tmp_path / "a.json"
    file.write_text("older")

    def fail():
        with written_whole(file) as partial:
            partial.write_text("half")
            raise failure

    with pytest.raises(LavieError if isinstance(failure, OSError) else KeyboardInterrupt):
        fail()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.json": "older"}


def test_a_whole_folder_takes_the_place_of_an_older_one(tmp_path):
    folder = tmp_path / "vae"
    folder.mkdir()
    (folder / "older.safetensors").touch()
    with written_whole(folder) as partial:
        partial.mkdir()
        (partial / "config.json").touch()
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_may_read_what_the_user_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        with written_whole(tmp_path / "a") as partial:
            partial.touch(mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_file_is_replaced_at_once(tmp_path):
    (tmp_path / "a").write_text("older")
    (tmp_path / "b").write_text("newer")
    put_in_place(tmp_path / "b", tmp_path / "a")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["newer"]
