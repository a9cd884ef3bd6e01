"""Names that Windows cannot hold, and places that are closed, are told in a sentence before any work."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from lavie.atomic import claimed, written_whole
from lavie.cli import main
from lavie.errors import UsageError, in_words, is_out_of_memory
from lavie.file_names import check_name
from lavie.video import check_writable

BAD = ["CON", "con.safetensors", "NUL.mp4", "aux .mp4", "LPT1.tar.gz", "com¹.mp4", "my_lora.", "clip.mp4 ", "frames. ."]
GOOD = [
    "console.mp4",
    "null.mp4",
    "com10.mp4",
    "a.con",
    ".hidden",
    "my lora.v2.safetensors",
    "name_%04d.png",
    "..",
    ".",
]


@pytest.mark.parametrize("name", BAD)
def test_what_windows_cannot_hold_is_refused_wherever_the_pack_makes_a_file(name, tmp_path):
    for check in (check_name, lambda path: claimed(path).__enter__(), lambda path: check_writable(f"{path}/")):
        with pytest.raises(UsageError, match=r"'.*' (is the name of a device|ends in a dot or a space).*\.$"):
            check(tmp_path / name)
    with pytest.raises(UsageError), written_whole(tmp_path / name):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", GOOD)
def test_other_names_are_taken(name):
    check_name(name)


def test_the_command_line_refuses_them_before_any_work(tmp_path, capsys):
    assert main(["generate", "a ball", "-o", str(tmp_path / "nul.mp4")]) == 2
    assert "'nul.mp4' is the name of a device on Windows" in capsys.readouterr().err


def closed(function):
    """Call it where no permission is overlooked: root may do everything, so it becomes nobody meanwhile."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        return function()
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def folder(tmp_path_factory):
    """A folder that may be looked at by everybody, and written to by nobody."""
    made = tmp_path_factory.mktemp("closed")
    for parent in (made, *made.parents):
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(parent.stat().st_mode | 0o055)
    made.chmod(0o555)
    yield made
    made.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_folder_that_may_not_be_written_to_is_told_before_any_work(folder, capsys):
    with pytest.raises(UsageError, match=r"cannot be written: .* does not allow it \(Permission denied\)\.$"):
        closed(lambda: claimed(folder / "runs" / "my_lora.safetensors").__enter__())
    assert closed(lambda: main(["generate", "a ball", "-o", f"{folder}/frames/"])) == 2
    assert f"frames cannot be written: {folder} does not allow it (Permission denied)." in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_model_folder_that_may_not_be_read_is_told_in_a_sentence(folder, capsys):
    folder.chmod(0o777)
    (folder / "family.json").write_text("{}")
    (folder / "family.json").chmod(0)
    assert closed(lambda: main(["generate", "a ball", "--model", str(folder), "-o", f"{folder}/frames/"])) == 1
    error = capsys.readouterr().err
    assert "PermissionError" not in error
    assert str(folder / "family.json") in error


def test_what_the_system_refuses_has_a_sentence_and_nothing_else_has():
    denied = PermissionError(errno.EACCES, "Permission denied", "/models/unet")
    assert str(in_words(denied, "")) == (
        "/models/unet is closed to LaVie (Permission denied). Change its permissions, or choose another."
    )
    assert "Read-only" in str(in_words(OSError(errno.EROFS, "Read-only file system", "/output"), ""))
    assert str(in_words(MemoryError(), "Ask for less.")) == "LaVie ran out of memory. Ask for less."
    assert in_words(FileNotFoundError(errno.ENOENT, "No such file", "x"), "") is None
    assert in_words(RuntimeError("mat1 and mat2 shapes cannot be multiplied"), "") is None
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_true_lack_of_memory_on_the_command_line_is_one_line(monkeypatch, capsys, tmp_path):
    import torch

    monkeypatch.setattr("lavie.cli.info.run", lambda _: torch.empty(2**46))
    assert main(["info", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error == (
        "lavie: error: LaVie ran out of memory. Set a limit to work in smaller parts (--memory auto), or ask for a "
        "smaller size or fewer frames.\n"
    )
    assert Path(tmp_path).is_dir()
