"""The sound of a video goes into what is made of it: unchanged where the container allows, and as long as it was."""

import subprocess

import numpy as np
import pytest
from support.films import ffmpeg, get_ffmpeg_exe
from support.sound import CODECS, H264, TONE, packets_of_sound, tracks, with_sound

from lavie.errors import UsageError
from lavie.video import VideoWriter, carried_sound, find_sound, probe_video, read_metadata, read_video, write_video


def frames_of(seconds, fps):
    return np.random.default_rng(0).integers(0, 255, (round(seconds * fps), 48, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [
        ("in.mp4", "out.mp4", "aac"),
        ("in.mp4", "out.mov", "aac"),
        ("in.mp4", "out.mkv", "aac"),
        ("in.webm", "out.webm", "opus"),
        ("in.webm", "out.mp4", "opus"),
        ("in.mov", "out.mov", "pcm_s16le"),
        ("in.mov", "out.mkv", "pcm_s16le"),
        ("in.mkv", "out.mkv", "flac"),
        ("in.mkv", "out.mp4", "flac"),
    ],
)
def test_the_sound_is_copied_as_it_is_and_ends_with_the_video(source, target, codec, tmp_path):
    told = []
    sound = carried_sound(with_sound(tmp_path / source), tmp_path / target, told.append)
    write_video(tmp_path / target, frames_of(2, 24), 24, {"prompt": "a fish"}, sound=sound)
    (_, video), (found, audio) = tracks(tmp_path / target)
    assert (found, told) == (codec, [])
    assert abs(video - audio) <= 1 / 24
    assert abs(audio - 2) <= 1 / 24
    assert packets_of_sound(tmp_path / source) == packets_of_sound(tmp_path / target)
    assert read_metadata(tmp_path / target) == {"prompt": "a fish"}


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [("in.mov", "out.mp4", "aac"), ("in.mp4", "out.webm", "opus"), ("in.mkv", "out.webm", "opus"),
     ("in.mkv", "out.mov", "aac")],
)  # fmt: skip
def test_sound_that_the_container_does_not_hold_is_encoded_again_and_that_is_said(source, target, codec, tmp_path):
    told = []
    sound = carried_sound(with_sound(tmp_path / source), tmp_path / target, told.append)
    write_video(tmp_path / target, frames_of(2, 24), 24, sound=sound)
    (_, video), (found, audio) = tracks(tmp_path / target)
    assert found == codec
    assert abs(video - audio) <= 1 / 24
    (sentence,) = told
    assert f"encoded again, from {sound.codecs[0]} to {codec}" in sentence


def test_silence_follows_where_the_video_goes_on(tmp_path):
    for ending in CODECS:
        source, target = with_sound(tmp_path / f"in.{ending}", seconds=1), tmp_path / f"out.{ending}"
        sound = carried_sound(source, target, pytest.fail, seconds=2.5)
        write_video(target, frames_of(2.5, 12), 12, sound=sound)
        (_, video), (codec, audio) = tracks(target)
        assert codec == sound.codecs[0]
        assert abs(video - audio) <= 1 / 12
        level = subprocess.run(
            [get_ffmpeg_exe(), "-ss", "1.5", "-i", target, "-af", "volumedetect", "-f", "null", "-"],
            check=True, capture_output=True, text=True,
        ).stderr  # fmt: skip
        assert float(level.split("max_volume: ")[1].split()[0]) < -60


def test_every_track_goes_along_whatever_its_channels(tmp_path):
    source = tmp_path / "in.mkv"
    layouts = ("-filter:a:0", "aformat=channel_layouts=5.1(side)", "-c:a:0", "ac3", "-c:a:1", "aac")
    video = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=12")
    ffmpeg(*video, *TONE, "-map", "0:v", "-map", "1:a", "-map", "1:a", "-t", 1, *H264, *layouts, source)
    for target, codecs in (("out.mkv", ["ac3", "aac"]), ("out.mp4", ["ac3", "aac"]), ("out.webm", ["opus", "opus"])):
        told = []
        sound = carried_sound(source, tmp_path / target, told.append)
        write_video(tmp_path / target, frames_of(1, 12), 12, sound=sound)
        assert [codec for codec, _ in tracks(tmp_path / target)[1:]] == codecs
        assert len(told) == (2 if target == "out.webm" else 0)


@pytest.mark.parametrize("name", ["out.gif", "out/", "out_%03d.png"])
def test_gif_and_png_say_that_they_hold_no_sound(name, tmp_path):
    told = []
    source = with_sound(tmp_path / "in.mp4")
    assert carried_sound(source, f"{tmp_path}/{name}", told.append) is None
    assert told == [
        f"{tmp_path}/{name} cannot hold sound, so that of {source} is left out. "
        "Videos with sound: .mp4, .mov, .webm, .mkv."
    ]


def test_a_video_without_sound_a_gif_and_images_have_none(tmp_path):
    for name in ("clip.mp4", "clip.gif", "frames/"):
        write_video(f"{tmp_path}/{name}", frames_of(1, 4), 4)
        assert find_sound(f"{tmp_path}/{name}") is None
        assert carried_sound(f"{tmp_path}/{name}", tmp_path / "out.mp4", pytest.fail) is None


def test_sound_that_cannot_be_taken_along_is_told_before_any_work(tmp_path):
    source, told = tmp_path / "in.mkv", []
    whole = with_sound(source).read_bytes()
    source.write_bytes(whole.replace(b"A_FLAC", b"A_XYZW"))
    assert carried_sound(source, tmp_path / "out.mp4", told.append) is None
    assert not told or told[0].startswith(f"The sound of {source} is left out: ffmpeg says: ")


@pytest.mark.parametrize("name", ["clip.mov", "clip.mkv"])
def test_mov_and_mkv_come_back_as_written(name, tmp_path):
    frames = np.repeat(frames_of(1, 1), 5, axis=0) // 8 * 8
    write_video(tmp_path / name, frames, 12.5, {"seed": 7})
    clip = read_video(tmp_path / name)
    assert (clip.frames.shape, clip.fps, clip.metadata) == (frames.shape, 12.5, {"seed": 7})


@pytest.mark.parametrize("fps", [float("nan"), float("inf"), 0, -8, 1001])
def test_a_frame_rate_that_no_video_can_have_is_refused(fps, tmp_path):
    with pytest.raises(UsageError, match="frame rate must be between"):
        VideoWriter(tmp_path / "clip.mp4", fps)
    assert probe_video(with_sound(tmp_path / "in.mp4")).fps == 12
