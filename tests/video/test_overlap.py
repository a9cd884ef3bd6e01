"""What a video is made from is never replaced by it, however the two are spelt."""

import os

import numpy as np
import pytest

from lavie.cli import main
from lavie.errors import UsageError
from lavie.video import read_video, refuse_to_replace, write_video

COMMANDS = {
    "generate": lambda source, output: ["generate", "a ball", "--video", source, "-o", output],
    "interpolate": lambda source, output: ["interpolate", source, "-o", output],
    "upscale": lambda source, output: ["upscale", source, "-o", output],
    "extend": lambda source, output: ["extend", "a ball", "--video", source, "-o", output],
    "transition": lambda source, output: ["transition", source, "elsewhere.mp4", "a ball", "-o", output],
    "transition's second": lambda source, output: ["transition", "elsewhere.mp4", source, "a ball", "-o", output],
}
SAME = [
    ("frames/", "frames/"),
    ("frames", "frames/frame_%05d.png"),
    ("frames/", "frames/frame_%d.png"),
    ("frames", "./frames/../frames/frame_%03d.png"),
    ("frames/frame_%05d.png", "frames/"),
    ("frames/frame_00001.png", "frames/"),
    ("frames/frame_00001.png", "frames/frame_%05d.png"),
    ("link", "frames/"),
    ("link/frame_%05d.png", "frames/frame_%05d.png"),
    ("frames", "link/"),
    ("links", "frames/frame_%05d.png"),
    ("in.mp4", "in.mp4"),
    ("in.mp4", "./in.mp4"),
    ("in.mp4", "frames/../in.mp4"),
    ("in.mp4", "film.mp4"),
    ("film.mp4", "in.mp4"),
    ("hard.mp4", "in.mp4"),
    ("out.mp4.parts/00000", "out.mp4"),
    ("elsewhere.mp4.parts/00000/frame_%05d.png", "elsewhere.mp4"),
]
OTHER = [
    ("frames", "frames/new_%05d.png"),
    ("frames", "new/"),
    ("in.mp4", "out.mp4"),
    ("in.mp4", "frames/"),
    ("frames", "in.mp4"),
    ("frames/frame_00001.png", "frames/one_%d.png"),
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A video, a folder of frames, links to both, and a folder of links to the frames under other names."""
    monkeypatch.chdir(tmp_path)
    frames = np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3)
    for name in ("in.mp4", "elsewhere.mp4", "frames/"):
        write_video(name, frames, 8, {"prompt": "a ball"})
    for name in ("out.mp4.parts", "elsewhere.mp4.parts"):
        os.mkdir(name)
        write_video(f"{name}/00000/", frames, 8)
    try:
        os.symlink("frames", "link")
        os.symlink("in.mp4", "film.mp4")
        os.link("in.mp4", "hard.mp4")
        os.mkdir("links")
        for index in range(2):
            os.symlink(f"../frames/frame_0000{index}.png", f"links/shot{index}.png")
    except OSError:
        pytest.skip("this system lets us make no links")
    return tmp_path


def contents(folder):
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(("source", "output"), SAME)
def test_an_output_that_would_replace_its_input_is_refused(source, output):
    with pytest.raises(UsageError, match=r"is the input, too: .* would be replaced"):
        refuse_to_replace(output, source)


@pytest.mark.parametrize(("source", "output"), OTHER)
def test_another_place_is_taken(source, output):
    refuse_to_replace(output, source)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_it_before_any_work_and_leaves_everything(command, here, capsys):
    before = contents(here)
    for source, output in SAME[1], SAME[4], SAME[8]:
        code = main([*COMMANDS[command](source, output), "--model", "no such model"])
        assert (code, "is the input, too" in capsys.readouterr().err) == (2, True)
    assert contents(here) == before


def test_a_file_of_prompts_is_an_input_too(here, capsys):
    os.rename("in.mp4", "prompts.txt")
    (here / "prompts.txt").write_text("a ball")
    os.symlink("prompts.txt", "x.mp4")
    assert main(["generate", "--prompt-file", "prompts.txt", "-o", "x.mp4"]) == 2
    assert "is the input, too" in capsys.readouterr().err


def test_names_are_compared_as_their_disk_compares_them():
    if not os.path.exists("FRAMES"):  # a disk to which case matters, until a link makes two names one file
        refuse_to_replace("frames/Frame_%05d.png", "frames")
        os.link("frames/frame_00001.png", "frames/Frame_00001.png")
    with pytest.raises(UsageError, match="is the input, too"):
        refuse_to_replace("frames/Frame_%05d.png", "frames/frame_%05d.png")


def test_python_is_refused_as_the_command_line_is(here):
    from lavie.pipelines import stream_video

    before = read_video("frames").frames
    with pytest.raises(UsageError, match="is the input, too"):
        stream_video(None, "frames", "frames/frame_%05d.png")
    assert np.array_equal(read_video("frames").frames, before)
