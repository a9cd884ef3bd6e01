"""What LaVie prints is text: names and metadata of strangers' files cannot steer a terminal."""

import numpy as np
import pytest

from lavie.cli import main
from lavie.errors import LavieError, UsageError, printable
from lavie.training.data.clip import UnreadableClip
from lavie.training.data.filters import DataReport
from lavie.video import write_video

STEERS = "\x1b]0;title\x07\x9b2J\u202eevil\ud800"


def test_what_would_steer_a_terminal_is_shown_as_its_escape():
    assert printable(STEERS) == r"\x1b]0;title\x07\x9b2J\u202eevil\ud800"
    assert printable("two\nlines\tand ünïcödé 🐈") == "two\nlines\tand ünïcödé 🐈"


@pytest.mark.parametrize("error", [LavieError(STEERS), UsageError(STEERS), UnreadableClip(STEERS, STEERS)])
def test_every_error_is_printable(error):
    assert str(error) == printable(str(error))
    assert r"\x1b" in str(error)


def test_a_report_of_files_is_printable():
    report = DataReport("a folder", broken=[(STEERS, STEERS)])
    report.drop(STEERS, "no caption")
    assert report.text() == printable(report.text())


def test_info_shows_metadata_without_letting_it_steer_or_forge_lines(tmp_path, capsys):
    write_video(tmp_path / "a.gif", np.zeros((2, 16, 16, 3), np.uint8), 8, {"prompt": STEERS + "\nseed: 7"})
    assert main(["info", str(tmp_path / "a.gif")]) == 0
    shown = capsys.readouterr().out
    assert shown == printable(shown)
    assert "\nseed: 7" not in shown


def test_a_wrong_name_on_the_command_line_is_shown_escaped(capsys):
    assert main(["info", "\x1b[2J.mp4"]) == 2
    assert "\x1b" not in capsys.readouterr().err
