"""Time and sound on the command line: what is made of a video lasts as long, and its sound goes with it."""

import json

import pytest
from support.films import ffmpeg
from support.sound import tracks, with_sound

from lavie.cli import main

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = ("--steps", "1")


@pytest.fixture
def lavie(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, error = capsys.readouterr()
        assert code == 0, error
        return out, error

    return run


@pytest.mark.parametrize("ending", ["mp4", "webm", "mov", "mkv"])
@pytest.mark.parametrize("way", [(), ("--stream",)])
def test_interpolate_keeps_duration_and_sound(lavie, tmp_path, ending, way):
    source, target = with_sound(tmp_path / f"in.{ending}", size="32x24", seconds=1), tmp_path / f"out.{ending}"
    lavie("interpolate", source, "-o", target, *way, *QUICK)
    (_, before), (codec, _) = tracks(source)
    (_, video), (kept, audio) = tracks(target)
    assert kept == codec
    assert abs(video - before) < 1 / 45  # of the 45 frames a second that are made of 12
    assert abs(video - audio) <= 1 / 12


def test_the_rate_of_the_output_can_be_chosen(lavie, tmp_path):
    source = with_sound(tmp_path / "in.mp4", size="32x24", seconds=0.5)
    out, _ = lavie("interpolate", source, "-o", tmp_path / "out.mp4", "--output-fps", 36, *QUICK, "--json")
    assert json.loads(out)["videos"][0]["fps"] == 36
    assert tracks(tmp_path / "out.mp4")[0][1] == pytest.approx(21 / 36, abs=1e-3)


def test_upscale_and_repaint_keep_duration_and_sound(lavie, tmp_path):
    source = with_sound(tmp_path / "in.mp4", size="32x24", seconds=0.5)
    lavie("upscale", source, "-o", tmp_path / "large.mp4", *QUICK)
    repaint = ("generate", "a red ball", "--video", source, "--no-upscale")
    lavie(*repaint, "-o", tmp_path / "smooth.mp4", *QUICK)
    lavie(*repaint, "--no-interpolate", "-o", tmp_path / "same.mp4", *QUICK)
    for name in ("large.mp4", "smooth.mp4", "same.mp4"):
        (_, video), (codec, audio) = tracks(tmp_path / name)
        assert codec == "aac"
        assert (video, audio) == (pytest.approx(0.5, abs=1 / 12), pytest.approx(0.5, abs=1 / 12))


def test_a_continued_video_keeps_its_rate_and_silence_follows_its_sound(lavie, tmp_path):
    source = with_sound(tmp_path / "in.mp4", size="32x24", seconds=0.5)
    extend = ("extend", "a red ball", "--video", source, "--method", "replacement", "--frames", 12)
    lavie(*extend, "-o", tmp_path / "out.mp4", *QUICK)
    (_, video), (codec, audio) = tracks(tmp_path / "out.mp4")
    assert (codec, video) == ("aac", pytest.approx(1))
    assert abs(video - audio) <= 1 / 12


def test_a_gif_says_that_it_holds_no_sound(lavie, tmp_path):
    source = with_sound(tmp_path / "in.mp4", size="32x24", seconds=0.5)
    _, error = lavie("upscale", source, "-o", tmp_path / "out.gif", *QUICK)
    assert f"{tmp_path / 'out.gif'} cannot hold sound" in error


def test_a_transition_says_that_it_leaves_the_sound_out(lavie, tmp_path):
    source, silent = with_sound(tmp_path / "in.mp4", size="32x24", seconds=0.5), tmp_path / "silent.mp4"
    ffmpeg("-i", source, "-an", "-c", "copy", silent)
    joined = ("a red ball", "--frames", 2, "-o", tmp_path / "out.mp4", *QUICK)
    out, error = lavie("transition", silent, source, *joined)
    assert "at 12 fps" in out
    assert "A transition has no sound" in error
    assert "A transition has no sound" not in lavie("transition", silent, silent, *joined)[1]
