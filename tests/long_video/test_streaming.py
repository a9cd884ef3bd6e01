"""Long films in segments: as if they had never been stopped, without a seam, and in the memory of short ones."""

import json
import shutil
import subprocess
import sys
import tracemalloc
from collections import namedtuple
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lab.sprites import DIRECTIONS
from lab.sprites.held_out import held_out_scenes, rendered_clips
from lavie import InterpolationPipeline, UpscalePipeline
from lavie.cli import main
from lavie.config import find_family
from lavie.errors import Cancelled, LavieError, UsageError
from lavie.lora import Lora
from lavie.pipelines import VideoOutput, stream_video
from lavie.pipelines.streaming import Cut
from lavie.pipelines.streaming.crossfade import crossfaded
from lavie.pipelines.streaming.input_video import InputVideo
from lavie.pipelines.streaming.segment_folder import SegmentFolder
from lavie.pipelines.streaming.segments import pieces_of
from lavie.pipelines.streaming.stream import StreamRun
from lavie.sampling.noise import segment_noise
from lavie.speed import Speed
from lavie.stages import STAGES as SPECS
from lavie.video import VideoWriter, read_metadata, read_video, write_video

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "a red ball moving left over green grass"
STAGES = {"interpolation": InterpolationPipeline, "upscaler": UpscalePipeline}
SHORT = {"segment": 8, "window": 4, "overlap": 2, "num_inference_steps": 1}
TINY = find_family("lavie-tiny")


@pytest.fixture(scope="module", params=STAGES)
def pipeline(request):
    return STAGES[request.param].from_pretrained("lavie-tiny", device="cpu")


@pytest.fixture(scope="module")
def clip():
    """A rendered clip of 24 frames, 64×96."""
    return next(iter(rendered_clips(held_out_scenes(1, seed=5), 24, 64, 96)))


@pytest.fixture
def film(clip, tmp_path):
    """18 frames of 16×24 that know their prompt."""
    write_video(f"{tmp_path}/in/", clip[:18, 20:36, 40:64], fps=8, metadata={"prompt": PROMPT})
    return tmp_path / "in"


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def stop_after(count):
    def stop(finished, total):
        if finished == count:
            raise Cancelled

    return stop


# -- where a film is cut -----------------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.integers(8, 60), st.integers(0, 30))
def test_segments_cover_the_film_share_the_overlap_and_are_never_too_long(num_frames, size, overlap):
    cut = Cut(size, min(overlap, size // 3))
    segments = cut.segments(num_frames)
    assert (segments[0].start, segments[-1].stop) == (0, num_frames)
    assert all(segment.stop - segment.start <= size for segment in segments)
    for before, after in pairwise(segments):
        assert before.stop - after.start == cut.overlap
        assert before.start < after.start
        assert before.stop < after.stop


def test_a_segment_is_ten_windows_and_the_61_frames_of_a_cascade_are_one():
    assert Cut.of(TINY.upscaler, {}).segments(151) == [slice(0, 151)]
    assert Cut.of(TINY.interpolation, {}) == Cut(124, 4)
    released = find_family("lavie").upscaler
    assert Cut.of(released, {}).segments(61) == [slice(0, 61)]
    assert Cut.of(released, {"chunks": "official"}) == Cut(80, 0)
    assert Cut.of(released, {"window": 0}) is None


@pytest.mark.parametrize(
    ("settings", "size", "message"),
    [({}, 7, "8 to 10000 frames, not 7"), ({}, 10_001, "not 10001"), ({"chunks": "official"}, 12, "multiple of 8")],
)
def test_segments_that_cannot_be_are_refused_in_a_sentence(settings, size, message):
    with pytest.raises(UsageError, match=message):
        Cut.of(TINY.upscaler, settings, size)


def test_only_one_segment_is_read_at_a_time():
    read = []

    def frames():
        for number in range(40):
            read.append(number)
            yield np.full((2, 2, 3), number, np.uint8)

    segments = [slice(5, 12), slice(10, 20), slice(30, 40)]
    for segment, piece in zip(segments, pieces_of(frames(), segments), strict=True):
        assert piece[:, 0, 0, 0].tolist() == list(range(segment.start, segment.stop))
        assert len(read) == segment.stop
    with pytest.raises(LavieError, match="shorter"):
        list(pieces_of(frames(), [slice(0, 41)]))


def test_segments_fade_into_each_other():
    first, second = np.zeros((6, 2, 2, 3), np.uint8), np.full((5, 2, 2, 3), 200, np.uint8)
    frames = list(crossfaded([first, second], 3))
    assert [frame[0, 0, 0] for frame in frames] == [0, 0, 0, 50, 100, 150, 200, 200]
    film = np.random.default_rng(0).integers(0, 255, (20, 2, 2, 3)).astype(np.uint8)
    pieces = [film[segment] for segment in Cut(8, 2).segments(20)]
    assert np.array_equal(list(crossfaded(pieces, 2)), film)
    assert len(list(crossfaded([film[:8], film[8:]], 0))) == 20


def test_neighbouring_segments_share_the_noise_of_the_frames_that_they_share():
    early, late = segment_noise(7, 0)("latents", (4, 12, 3, 5), 0), segment_noise(7, 10)("latents", (4, 6, 3, 5), 0)
    assert early.shape == (1, 4, 12, 3, 5)
    assert torch.equal(early[:, :, 10:], late[:, :, :2])
    assert torch.equal(late[:, :, 2:], segment_noise(7, 8)("latents", (4, 4, 3, 5), 4))
    images = [*early[0].transpose(0, 1), *late[0, :, 2:].transpose(0, 1)]
    images += [segment_noise(seed, 0)(what, (4, 1, 3, 5), 0)[0, :, 0] for seed, what in ((7, "other"), (8, "latents"))]
    values = torch.stack(images).flatten(1)
    assert (torch.corrcoef(values) - torch.eye(len(values))).abs().max() < 0.6
    assert abs(values.mean()) < 0.1
    assert values.std() == pytest.approx(1, abs=0.1)


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_a_film_of_one_segment_is_what_the_pipeline_makes_of_it(pipeline, film, tmp_path):
    settings = {"window": 8, "overlap": 2, "num_inference_steps": 1, "seed": 3}
    made = stream_video(pipeline, film, f"{tmp_path}/out/", segment=18, **settings)
    alone = pipeline(read_video(film).frames, PROMPT, **settings)
    written = read_video(tmp_path / "out")
    assert np.array_equal(written.frames, alone.frames)
    assert (written.fps, written.metadata) == (alone.fps, {**alone.metadata, "source": {"prompt": PROMPT}})
    assert (made.num_frames, made.height, made.width) == alone.frames.shape[:3]
    assert files(tmp_path) == ["in", "out"]


def test_a_resumed_run_ends_with_the_frames_of_an_uninterrupted_one(pipeline, film, tmp_path, monkeypatch):
    stream_video(pipeline, film, f"{tmp_path}/whole/", **SHORT)
    with pytest.raises(Cancelled):
        stream_video(pipeline, film, f"{tmp_path}/out/", after_segment=stop_after(1), **SHORT)
    assert files(tmp_path) == ["in", "out.parts", "whole"]

    def stop_within(stage, done, total, *_):
        if done > 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream_video(pipeline, film, f"{tmp_path}/out/", callback=stop_within, **SHORT)
    told = []
    made = stream_video(pipeline, film, f"{tmp_path}/out/", after_segment=lambda *each: told.append(each), **SHORT)
    assert told == [(2, 3), (3, 3)]
    assert np.array_equal(read_video(tmp_path / "out").frames, read_video(tmp_path / "whole").frames)
    assert read_metadata(tmp_path / "out") == read_metadata(tmp_path / "whole") == made.metadata
    assert (made.metadata["segment"], made.metadata["segment_overlap"]) == (8, 2)
    assert files(tmp_path) == ["in", "out", "whole"]


@pytest.fixture
def stored_by_0_1_0():
    """Makes the settings of an unfinished run those that version 0.1.0 stored: it knew less, and told its version."""

    def change(parts, **also):
        path = parts / "settings.json"
        stored = json.loads(path.read_text("utf-8"))
        assert stored.pop("format") == 1
        for unknown in ("chunks", "guidance_rescale"):
            del stored[unknown]
        del stored["speed"]["vae_keys"]  # as if this had come later, too
        path.write_text(json.dumps({**stored, "version": "0.1.0", **also}), "utf-8")

    return change


def test_an_unfinished_run_of_an_older_version_goes_on(pipeline, film, tmp_path, stored_by_0_1_0):
    whole = stream_video(pipeline, film, f"{tmp_path}/whole/", **SHORT)
    with pytest.raises(Cancelled):
        stream_video(pipeline, film, f"{tmp_path}/out/", after_segment=stop_after(1), **SHORT)
    stored_by_0_1_0(tmp_path / "out.parts")
    told = []
    made = stream_video(pipeline, film, f"{tmp_path}/out/", after_segment=lambda *each: told.append(each), **SHORT)
    assert told[0] == (1, 3)  # the first segment is not made again
    assert np.array_equal(read_video(tmp_path / "out").frames, read_video(tmp_path / "whole").frames)
    assert made.metadata == whole.metadata


def test_an_older_run_of_other_settings_or_by_newer_code_is_not_gone_on_from(pipeline, film, tmp_path, stored_by_0_1_0):
    with pytest.raises(Cancelled):
        stream_video(pipeline, film, f"{tmp_path}/out/", after_segment=stop_after(1), **SHORT)
    parts = tmp_path / "out.parts"
    before = (parts / "settings.json").read_text("utf-8")
    stored_by_0_1_0(parts)
    for changes, message in (({"seed": 1}, "another seed"), ({"guidance_rescale": 0.5}, "another guidance_rescale")):
        with pytest.raises(UsageError, match=message):
            stream_video(pipeline, film, f"{tmp_path}/out/", **{**SHORT, **changes})
    (parts / "settings.json").write_text(json.dumps({**json.loads(before), "format": 2}), "utf-8")
    with pytest.raises(UsageError, match=r"another format.*\(--restart\)"):
        stream_video(pipeline, film, f"{tmp_path}/out/", **SHORT)


def seam_ratio(frames, first, last):
    """Mean absolute change within a fade over the frames `first` to `last` and at its ends ÷ that of the eight changes
    before and the eight after."""
    change = np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
    near = np.concatenate((change[first - 9 : first - 1], change[last + 1 : last + 9]))
    return change[first - 1 : last + 1].mean() / near.mean()


def test_no_seam_shows_where_segments_of_a_moving_clip_meet(pipeline, tmp_path):
    scene = next(scene for scene in held_out_scenes(30, seed=5) if scene.motion in DIRECTIONS)
    write_video(f"{tmp_path}/in/", next(iter(rendered_clips([scene], 24, 32, 48))), fps=8)
    settings = {"segment": 14, "window": 8, "overlap": 2, "prompt": PROMPT}
    stream_video(pipeline, tmp_path / "in", f"{tmp_path}/out/", **settings)
    before, after = Cut(14, 2).segments(24)
    first, last = (pipeline.stage.spec.frames_made(place + 1) - 1 for place in (after.start, before.stop - 1))
    assert seam_ratio(read_video(tmp_path / "out").frames, first, last) <= 1.15


def test_progress_counts_the_frames_of_the_film_and_ends_with_those_written(pipeline, film, tmp_path):
    told = []
    stream_video(pipeline, film, f"{tmp_path}/out/", callback=lambda *each: told.append(each[:3]), **SHORT)
    stages = [each[1:] for each in told if each[0] == pipeline.stage_name]
    assert [done for done, _ in stages] == sorted(done for done, _ in stages)
    assert stages[-1] == (18, 18)
    total = pipeline.stage.spec.frames_made(18)
    assert [each[1:] for each in told if each[0] == "video"] == [(done, total) for done in range(1, total + 1)]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def upscaler():
    return UpscalePipeline.from_pretrained("lavie-tiny", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "another seed"),
        ({"prompt": "snow", "noise_level": 3}, "another noise_level, prompt"),
        ({"segment": 9}, "another segment"),
        ({"chunks": "official"}, "another chunks"),
        ({"speed": "fast"}, "another speed"),
        ({"speed": Speed(full_every=2)}, "another speed"),
    ],
)
def test_segments_of_other_settings_are_not_gone_on_from(upscaler, film, tmp_path, changes, message):
    with pytest.raises(Cancelled):
        stream_video(upscaler, film, tmp_path / "out.mp4", after_segment=stop_after(1), **SHORT)
    with pytest.raises(UsageError, match=rf"out\.mp4\.parts holds .* {message}.*\(--restart\)"):
        stream_video(upscaler, film, tmp_path / "out.mp4", **{**SHORT, **changes})
    again = {**SHORT, **changes, "restart": True, "after_segment": stop_after(0)}
    with pytest.raises(Cancelled):
        stream_video(upscaler, film, tmp_path / "out.mp4", **again)
    assert files(tmp_path) == ["in"]


def test_segments_of_another_film_or_lora_are_not_gone_on_from(film, clip, tmp_path):
    pipeline = InterpolationPipeline.from_pretrained("lavie-tiny", device="cpu")
    with pytest.raises(Cancelled):
        stream_video(pipeline, film, tmp_path / "out.mp4", after_segment=stop_after(1), **SHORT)
    pipeline.set_loras([Lora.read(TINY.folder / "loras" / "lavie-tiny-sunset.safetensors")])
    with pytest.raises(UsageError, match="another loras"):
        stream_video(pipeline, film, tmp_path / "out.mp4", **SHORT)
    pipeline.set_loras([])
    write_video(f"{film}/", clip[1:19, 20:36, 40:64], fps=8, metadata={"prompt": PROMPT})
    with pytest.raises(UsageError, match="another input"):
        stream_video(pipeline, film, tmp_path / "out.mp4", **SHORT)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"segment": None, "window": 0}, "say how many frames"),
        ({"segment": 4}, "8 to 10000"),
        ({"noise_level": 351}, "between 0 and 350"),
        ({"window": 4, "overlap": 4}, "overlap must be smaller"),
        ({"seed": -1}, "seed must be"),
        ({"color_correction": "lab"}, "'lab'"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_leave_nothing(upscaler, film, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        stream_video(upscaler, film, tmp_path / "out.mp4", **{**SHORT, **settings})
    assert files(tmp_path) == ["in"]


def test_a_disk_that_is_too_small_is_told_before_the_run(upscaler, film, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(UsageError, match=r"about 0\.\d MB of disk space in .*, where 0\.0 MB are free"):
        stream_video(upscaler, film, tmp_path / "out.mp4", callback=lambda *_: pytest.fail("begun"), **SHORT)
    assert files(tmp_path) == ["in"]


def test_a_folder_of_someone_else_is_left_alone(upscaler, film, tmp_path):
    (tmp_path / "out.mp4.parts").mkdir()
    (tmp_path / "out.mp4.parts" / "novel.txt").write_text("Chapter 1")
    for restart in (False, True):
        with pytest.raises(UsageError, match=r"out\.mp4\.parts is in the way"):
            stream_video(upscaler, film, tmp_path / "out.mp4", restart=restart, **SHORT)
    assert files(tmp_path / "out.mp4.parts") == ["novel.txt"]


def test_a_stop_while_the_film_is_put_together_keeps_the_older_film_and_the_segments(upscaler, film, tmp_path):
    def stop_late(stage, done, *_):
        if (stage, done) == ("video", 9):
            raise Cancelled

    (tmp_path / "out.mp4").write_text("older")
    with pytest.raises(Cancelled):
        stream_video(upscaler, film, tmp_path / "out.mp4", callback=stop_late, **SHORT)
    assert (tmp_path / "out.mp4").read_text() == "older"
    assert files(tmp_path) == ["in", "out.mp4", "out.mp4.parts"]
    stream_video(upscaler, film, tmp_path / "out.mp4", **SHORT)
    assert len(read_video(tmp_path / "out.mp4").frames) == 18
    assert files(tmp_path) == ["in", "out.mp4"]


# -- memory ------------------------------------------------------------------------------------------------------------


class Doubling:
    """Stands for a pipeline: shows what it is given twice as high and wide."""

    stage_name = "upscaler"
    stage = SimpleNamespace(spec=replace(SPECS["upscaler"], enlargement=2))
    most = 0

    def __call__(self, frames, **_):
        self.most = max(self.most, len(frames))
        return VideoOutput(frames.repeat(2, 1).repeat(2, 2), 8)


def traced_peak(folder, num_frames):
    """Bytes at the peak of a run over so many frames of 16×24, in segments of at most 16."""
    frame = np.random.default_rng(0).integers(0, 255, (16, 24, 3)).astype(np.uint8)
    with VideoWriter(folder / f"{num_frames}.mp4", 8) as writer:
        for _ in range(num_frames):
            writer.write(frame)
    parts = SegmentFolder(folder / f"out{num_frames}.mp4")
    pipeline = Doubling()
    tracemalloc.start()
    try:
        film = InputVideo.survey(folder / f"{num_frames}.mp4")
        parts.open({})
        run = StreamRun(pipeline, film, Cut(16, 2), parts, {})
        run.check_disk_space(folder / f"out{num_frames}.mp4")
        run.make_segments()
        run.assemble(folder / f"out{num_frames}.mp4", 8, sound=None)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert film.num_frames == num_frames
    assert pipeline.most <= 16
    return peak


def test_long_films_take_no_more_memory_than_short_ones(tmp_path):
    traced_peak(tmp_path, 20)  # what is imported or allocated once
    assert traced_peak(tmp_path, 320) < 1.1 * traced_peak(tmp_path, 64) + 2**15


@pytest.mark.slow
def test_ten_thousand_frames_take_no_more_memory_than_some(tmp_path):
    traced_peak(tmp_path, 20)
    assert traced_peak(tmp_path, 10_000) < 1.1 * traced_peak(tmp_path, 64) + 2**20  # a megabyte of file names


@pytest.mark.slow
@pytest.mark.parametrize("command", ["interpolate", "upscale"])
def test_peak_memory_does_not_depend_on_the_length(command, tmp_path):
    script = (
        "import resource, sys, torch; torch.set_num_threads(1); from lavie.cli import main\n"
        "code = main(sys.argv[1:]); print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (64, 512):
        frames = np.random.default_rng(0).integers(0, 255, (count, 16, 24, 3)).astype(np.uint8)
        write_video(f"{tmp_path}/{count}/", frames, fps=8)
        arguments = [command, tmp_path / f"{count}", "-o", tmp_path / f"{count}.mp4", "--segment", 32, "--steps", 1]
        ended = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments), "--quiet"], capture_output=True, text=True, cwd=ROOT
        )
        code, peak = ended.stdout.split()[-2:]
        assert code == "0"
        peaks.append(int(peak))
    assert peaks[1] < 1.1 * peaks[0]


# -- the command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def lavie(capsys):
    """Runs a command: exit code, standard output, standard error."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def test_the_command_line_takes_long_films_in_segments_by_itself(film, lavie, tmp_path):
    short = ("--window", 4, "--overlap", 2, "--steps", 1, "--json")
    code, answer, error = lavie("upscale", film, "-o", tmp_path / "out.mp4", "--segment", 8, *short)
    made = json.loads(answer)["videos"][0]
    assert code == 0
    assert (made["frames"], made["height"], made["width"], made["fps"]) == (18, 64, 96, 8)
    assert made["metadata"] == read_metadata(tmp_path / "out.mp4")
    assert (made["metadata"]["segment"], made["metadata"]["prompt"]) == (8, PROMPT)
    assert [line.split(":")[0] for line in error.splitlines()] == [f"segment {number} of 3" for number in (1, 2, 3)]
    _, answer, error = lavie("upscale", film, "-o", tmp_path / "out.mp4", *short)
    assert "segment" not in json.loads(answer)["videos"][0]["metadata"]
    assert "segment" not in error


def test_a_stop_says_what_is_kept_and_the_same_command_goes_on(film, lavie, tmp_path, monkeypatch):
    command = ("interpolate", film, "-o", tmp_path / "out.webm", "--segment", 8, "--window", 4, "--steps", 1)

    def interrupted(self, stage, done, *_):
        if done > 12:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lavie.cli.progress.SegmentProgress.__call__", interrupted)
        code, answer, error = lavie(*command)
    assert (code, answer) == (130, "")
    assert error.splitlines()[-1] == (
        "lavie: error: stopped; 2 of 3 segments are kept, and the same command resumes from there."
    )
    code, _, error = lavie(*command)
    assert code == 0
    assert error.splitlines()[0] == "segment 2 of 3: kept from before"
    assert len(read_video(tmp_path / "out.webm").frames) == 4 * 18 - 3
    assert files(tmp_path) == ["in", "out.webm"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--no-stream", "--segment", 8), "Leave out --no-stream"),
        (("--no-stream", "--restart"), "Leave out --no-stream"),
        (("--segment", 7), "between 8 and 10000, not 7"),
        (("--stream", "--window", 0), "--segment"),
    ],
)
def test_wrong_usage_is_one_line(film, lavie, tmp_path, options, message):
    code, answer, error = lavie("upscale", film, "-o", tmp_path / "out.mp4", *options)
    assert (code, answer, error.count("\n")) == (2, "", 1)
    assert message in error
    assert files(tmp_path) == ["in"]
