"""Films and image sequences go in and come out as they were, or with one clear sentence."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from lavie.errors import LavieError, UsageError
from lavie.video import (
    VideoWriter,
    check_writable,
    count_frames,
    iter_video,
    probe_video,
    read_metadata,
    read_video,
    write_video,
)
from lavie.video import encode as encode_module

NAMES = ["clip.mp4", "clip.webm", "clip.gif", "frames/", "shot_%03d.png"]
SETTINGS = {"prompt": 'a "red" fish\n= 50 %; #1 \\ größer 🐟', "seed": 7, "stages": [{"steps": 25, "scale": 7.5}]}


def moving_square(count=6, height=48, width=64):
    frames = np.full((count, height, width, 3), (40, 90, 160), np.uint8)
    for index in range(count):
        frames[index, 16:32, 4 + 8 * index : 20 + 8 * index] = (210, 60, 40)
    return frames


def ffmpeg(*arguments):
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "clip.mp4"
    write_video(path, moving_square(), fps=8, metadata=SETTINGS)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_comes_back(name, tmp_path):
    frames, path = moving_square(), os.path.join(tmp_path, name)
    write_video(path, frames, fps=8, metadata=SETTINGS)
    clip = read_video(path)
    assert clip.frames.shape == frames.shape
    assert clip.frames.dtype == np.uint8
    assert clip.fps == pytest.approx(8)
    assert clip.metadata == SETTINGS
    assert count_frames(path) == len(frames)
    error = np.abs(clip.frames.astype(int) - frames)
    assert error.max() == 0 if name.endswith(".png") or name.endswith("/") else error.mean() < 4


@pytest.mark.parametrize("name", ["still.png", "photo 12.jpg"])
def test_a_single_image_is_a_video_of_one_frame(name, tmp_path):
    Image.fromarray(moving_square(1)[0]).save(tmp_path / name, quality=100)
    clip = read_video(tmp_path / name)
    assert clip.frames.shape == (1, *moving_square(1).shape[1:])
    assert np.abs(clip.frames.astype(int) - moving_square(1)).mean() < 4
    assert count_frames(tmp_path / name) == 1


@pytest.mark.parametrize("name", NAMES[:2])
def test_plain_colours_keep_their_value_in_films(name, tmp_path):
    colours = np.array([(220, 30, 30), (20, 160, 60), (30, 60, 200), (250, 220, 40)], np.uint8)
    write_video(tmp_path / name, np.tile(colours[:, None, None], (1, 32, 32, 1)), fps=4)
    back = read_video(tmp_path / name).frames[:, 8:24, 8:24].mean((1, 2))
    assert np.abs(back - colours).max() <= 4


def test_browsers_can_play_the_mp4_while_it_loads(film):
    log = subprocess.run([get_ffmpeg_exe(), "-i", film], capture_output=True, text=True).stderr
    assert "h264" in log
    assert "yuv420p(tv, bt709" in log
    content = film.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_an_odd_size_grows_by_one_repeated_row_and_column(tmp_path):
    write_video(tmp_path / "odd.mp4", moving_square(2, 47, 63), fps=8)
    clip = read_video(tmp_path / "odd.mp4")
    assert clip.frames.shape == (2, 48, 64, 3)
    assert np.abs(clip.frames[:, -1].astype(int) - clip.frames[:, -2]).mean() < 6


@pytest.mark.parametrize("fps", [1, 23.976023976, 24, 29.97, 60])
def test_the_frame_rate_comes_back(fps, tmp_path):
    write_video(tmp_path / "clip.mp4", moving_square(4), fps)
    assert probe_video(tmp_path / "clip.mp4").fps == pytest.approx(fps, rel=1e-5)
    assert len(read_video(tmp_path / "clip.mp4").frames) == 4


@pytest.mark.parametrize("name", ["clip.gif", "clip.webm", "clip.mp4"])
@pytest.mark.parametrize(("count", "fps"), [(1, 8), (2, 8), (2, 24), (5, 24), (7, 30)])
def test_very_short_films_keep_their_frames(name, count, fps, tmp_path):
    write_video(tmp_path / name, moving_square(count), fps)
    clip = read_video(tmp_path / name)
    assert len(clip.frames) == count
    assert clip.fps == pytest.approx(fps, rel=0.1)  # GIF counts hundredths of a second


def test_frames_written_in_chunks_make_the_same_film(film, tmp_path):
    frames = moving_square()
    with VideoWriter(tmp_path / "clip.mp4", 8, SETTINGS) as writer:
        writer.write(frames[0])
        writer.write(frames[1:4])
        writer.write(frames[4:])
    assert (tmp_path / "clip.mp4").read_bytes() == film.read_bytes()


def test_frames_come_one_by_one_and_reading_may_stop_early(film):
    frames = iter_video(film)
    first = next(frames)
    frames.close()
    np.testing.assert_array_equal(first, read_video(film, max_frames=1).frames[0])
    assert len(read_video(film, max_frames=2).frames) == 2
    assert len(read_video(film, max_frames=99).frames) == 6


def test_a_film_of_another_program_has_no_settings(tmp_path):
    for name in ("clip.mov", "clip.avi", "clip.mkv"):
        ffmpeg("-f", "lavfi", "-i", "testsrc=s=32x16:r=25:d=0.2", "-metadata", "comment=holiday", tmp_path / name)
        clip = read_video(tmp_path / name)
        assert clip.frames.shape == (5, 16, 32, 3)
        assert clip.fps == 25
        assert clip.metadata == {}


def test_a_film_turned_by_its_camera_is_read_upright(film, tmp_path):
    ffmpeg("-display_rotation", "90", "-i", film, "-c", "copy", tmp_path / "turned.mp4")
    assert read_video(tmp_path / "turned.mp4").frames.shape == (6, 64, 48, 3)


def test_a_film_with_an_uneven_frame_rate_is_read_at_an_even_one(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=32x16:r=10:d=1", "-vf", "select='lt(n,4)+eq(n,9)'", "-fps_mode", "vfr",
           tmp_path / "uneven.webm")  # fmt: skip
    clip = read_video(tmp_path / "uneven.webm")
    assert len(clip.frames) / clip.fps == pytest.approx(1, abs=0.15)


# -- settings inside the file ------------------------------------------------------------------------------------------


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompts=st.lists(st.text(st.characters() | st.sampled_from("=;#\\\n\r\"'\0"), max_size=40), min_size=8))
@pytest.mark.parametrize("name", NAMES[:4])
def test_any_prompt_comes_back_from_the_file(name, prompts, tmp_path):
    settings = {"prompts": prompts}
    write_video(os.path.join(tmp_path, name), moving_square(1, 16, 16), fps=8, metadata=settings)
    assert read_metadata(os.path.join(tmp_path, name)) == settings


def test_settings_longer_than_a_command_line_may_be_come_back(tmp_path):
    settings = {"workflow": "=;#\\" * 30_000}
    write_video(tmp_path / "clip.mp4", moving_square(1), fps=8, metadata=settings)
    assert read_metadata(tmp_path / "clip.mp4") == settings


def test_numbers_of_numpy_are_stored_as_numbers(tmp_path):
    write_video(tmp_path / "clip.gif", moving_square(1), 8, {"scale": np.float32(7.5), "file": tmp_path})
    assert read_metadata(tmp_path / "clip.gif") == {"scale": 7.5, "file": str(tmp_path)}


def test_a_frame_sequence_carries_its_settings_in_a_note_and_in_its_first_frame(tmp_path):
    write_video(f"{tmp_path}/frames/", moving_square(2), fps=12, metadata=SETTINGS)
    note = tmp_path / "frames" / "metadata.json"
    assert json.loads(note.read_text()) == {"fps": 12, "metadata": SETTINGS}
    note.unlink()
    assert probe_video(tmp_path / "frames").fps == 12
    assert read_metadata(tmp_path / "frames") == SETTINGS


def test_images_of_another_program_are_read_by_number_at_8_frames_per_second(tmp_path):
    for number in (9, 10, 11):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"render{number}.png")
    clip = read_video(tmp_path)
    assert clip.frames[:, 0, 0, 0].tolist() == [9, 10, 11]
    assert clip.fps == 8


# -- what cannot be read -----------------------------------------------------------------------------------------------


def test_a_film_that_is_cut_off_is_refused_and_says_where(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3)).astype(np.uint8)
    for name in ("clip.mp4", "clip.webm", "clip.gif"):
        whole = tmp_path / name
        write_video(whole, noise, fps=8)
        (tmp_path / f"cut_{name}").write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
        with pytest.raises(LavieError, match=rf"cut_{name} is damaged or cut off: only its first \d+ frames") as caught:
            read_video(tmp_path / f"cut_{name}")
        assert not isinstance(caught.value, UsageError)


def test_a_film_without_its_index_is_refused(film, tmp_path):
    ffmpeg("-i", film, "-c", "copy", "-movflags", "-faststart", tmp_path / "late.mp4")
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "late.mp4").read_bytes()[:600])
    with pytest.raises(LavieError, match=r"cut.mp4 cannot be read: it is damaged"):
        read_video(tmp_path / "cut.mp4")


def make_sound(path):
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.2", path)


def make_two_series(path):
    path.mkdir()
    for name in ("a_1.png", "b_1.png"):
        Image.new("RGB", (8, 8)).save(path / name)


BAD_INPUTS = {
    "missing.mp4": (lambda path: None, "does not exist"),
    "empty.mp4": (lambda path: path.write_bytes(b""), "is empty"),
    "text.mp4": (lambda path: path.write_text("hello"), "damaged or no video"),
    "note.txt": (lambda path: path.write_text("hello\n" * 99), "damaged or no video"),
    "playlist.webm": (lambda path: path.write_text("ffconcat version 1.0\nfile clip.mp4\n"), "damaged or no video"),
    "sound.mp3": (make_sound, "only sound"),
    "sound.m4a": (make_sound, "only sound"),
    "folder": (lambda path: path.mkdir(), "without numbered images"),
    "two": (make_two_series, "more than one series"),
    "shot_%03d.png": (lambda path: None, "no images named"),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_what_is_no_video_is_refused_with_its_name(name, film, tmp_path):
    make, words = BAD_INPUTS[name]
    (tmp_path / "clip.mp4").write_bytes(film.read_bytes())
    make(tmp_path / name)
    with pytest.raises(UsageError, match=words) as caught:
        read_video(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_images_of_different_size_or_that_are_none_are_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "f1.png")
    Image.new("RGB", (8, 16)).save(tmp_path / "f2.png")
    with pytest.raises(LavieError, match=r"f2\.png is 16x8"):
        read_video(tmp_path)
    (tmp_path / "f2.png").write_bytes(b"no image")
    with pytest.raises(LavieError, match=r"f2\.png is not an image"):
        read_video(tmp_path)


# -- what cannot be written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip.xyz", "clip", "clip.png", "-"])
def test_an_unknown_kind_of_file_is_refused_with_the_known_ones(name, tmp_path):
    with pytest.raises(UsageError, match=r"\.mp4, \.webm, \.gif, \.mov, \.mkv, or name PNG frames as folder/"):
        check_writable(os.path.join(tmp_path, name))


@pytest.mark.parametrize("name", ["no/clip.mp4", "no/frames/", "no/shot_%d.png"])
def test_a_missing_output_folder_is_told_before_anything_is_made(name, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        check_writable(os.path.join(tmp_path, name))
    assert not list(tmp_path.iterdir())


def test_a_read_only_output_folder_is_told_before_anything_is_made(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("lavie.locks._opened", refuse)
    with pytest.raises(UsageError, match=r"does not allow it \(Permission denied\)"):
        check_writable(tmp_path / "clip.mp4")


def test_a_missing_ffmpeg_is_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)  # importing it raises
    with pytest.raises(LavieError, match=r"need the package imageio-ffmpeg: pip install"):
        check_writable(tmp_path / "clip.mp4")
    check_writable(f"{tmp_path}/frames/")


def test_a_folder_in_the_place_of_the_film_and_a_file_in_the_place_of_the_folder_are_told(tmp_path):
    (tmp_path / "clip.mp4").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_writable(tmp_path / "clip.mp4")
    (tmp_path / "frames").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        check_writable(f"{tmp_path}/frames/")


def test_frames_never_mix_with_other_files_of_a_folder(tmp_path):
    (tmp_path / "holiday.jpg").write_text("")
    with pytest.raises(UsageError, match=r"holds other files \(holiday\.jpg"):
        check_writable(f"{tmp_path}/")


def test_checking_leaves_nothing_behind_and_keeps_the_older_film(tmp_path):
    (tmp_path / "clip.mp4").write_text("older")
    check_writable(tmp_path / "clip.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_text() == "older"


def write_and_stop(path, failure):
    with VideoWriter(path, 8) as writer:
        writer.write(moving_square(5))
        raise failure


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_a_stop_in_the_middle_leaves_the_older_file_and_no_part_of_the_new(name, failure, tmp_path):
    path = os.path.join(tmp_path, name)
    write_video(path, moving_square(3), fps=8)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(failure):
        write_and_stop(path, failure)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("name", ["frames/", "shot_%03d.png"])
def test_a_shorter_sequence_replaces_a_longer_one(name, tmp_path):
    path = os.path.join(tmp_path, name)
    write_video(path, moving_square(6), fps=8)
    write_video(path, moving_square(2), fps=8)
    assert count_frames(path) == 2


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    (tmp_path / "plain_folder").mkdir()
    write_video(tmp_path / "clip.mp4", moving_square(1), fps=8)
    write_video(f"{tmp_path}/frames/", moving_square(1), fps=8)
    assert (tmp_path / "clip.mp4").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "frames").stat().st_mode == (tmp_path / "plain_folder").stat().st_mode


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk that is always full")
@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_told_and_leaves_nothing(name, tmp_path, monkeypatch):
    film, image = encode_module.VideoFile.__init__, encode_module.ImageFiles.__init__

    def film_on_full_disk(self, target, work, *rest):
        (work / f"video{target.suffix}").symlink_to("/dev/full")
        film(self, target, work, *rest)

    def images_on_full_disk(self, target, work, *rest):
        image(self, target, work, *rest)
        (work / "frames" / target.name(1)).symlink_to("/dev/full")

    monkeypatch.setattr(encode_module.VideoFile, "__init__", film_on_full_disk)
    monkeypatch.setattr(encode_module.ImageFiles, "__init__", images_on_full_disk)
    noise = np.random.default_rng(0).integers(0, 255, (12, 128, 128, 3)).astype(np.uint8)
    with pytest.raises(LavieError, match="was not written: the disk is full"):
        write_video(os.path.join(tmp_path, name), noise, fps=8)
    assert not list(tmp_path.iterdir())


def write_while_ffmpeg_is_killed(path):
    with VideoWriter(path, 8) as writer:
        writer.write(moving_square(1))
        writer._encoder._run.process.kill()
        writer._encoder._run.process.wait()
        writer.write(moving_square(20))


def test_ffmpeg_killed_from_outside_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(LavieError, match="was not written: ffmpeg"):
        write_while_ffmpeg_is_killed(tmp_path / "clip.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 10_000])
def test_an_impossible_frame_rate_is_refused(fps, tmp_path):
    with pytest.raises(UsageError, match="frame rate"):
        write_video(tmp_path / "clip.mp4", moving_square(1), fps)


def test_no_frames_make_no_film(tmp_path):
    with pytest.raises(LavieError, match="there is no frame"):
        write_video(tmp_path / "clip.mp4", moving_square(0), fps=8)
    assert not list(tmp_path.iterdir())


def test_frames_of_another_kind_or_size_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must be uint8"):
        write_video(tmp_path / "clip.mp4", moving_square() / 255.0, fps=8)
    assert not list(tmp_path.iterdir())
    with VideoWriter(tmp_path / "clip.mp4", 8) as writer:
        writer.write(moving_square(1))
        with pytest.raises(ValueError, match="one size"):
            writer.write(moving_square(1, 32, 32))
