"""What is checked before any work is done: ffmpeg, room on the disk, the computer's memory."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lavie.cli import main
from lavie.config import BUNDLED, RELEASED_STAGES, find_family
from lavie.errors import LavieError, UsageError
from lavie.pipelines import CascadePipeline, InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from lavie.pipelines.forecast import workload_ahead
from lavie.pipelines.stage import Stage, _work
from lavie.runtime import budget
from lavie.video import check_writable, write_video

CPU = torch.device("cpu")


@pytest.fixture
def nothing_loads(monkeypatch):
    monkeypatch.setattr(Stage, "load", lambda *_: pytest.fail("loaded"))


def computer(monkeypatch, free_bytes):
    monkeypatch.setattr(budget, "taken", lambda device: 0)
    monkeypatch.setattr(budget, "free", lambda device: free_bytes)


@pytest.mark.parametrize("kind", ["missing", "text", "folder", "failing"])
def test_an_ffmpeg_that_cannot_be_run_is_named(tmp_path, monkeypatch, kind):
    program = tmp_path / "my ffmpeg"
    if kind == "folder":
        program.mkdir()
    elif kind != "missing":
        program.write_text("#!/bin/sh\nexit 3\n" if kind == "failing" else "words")
        program.chmod(0o755 if kind == "failing" else 0o644)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(LavieError, match=r"ffmpeg cannot be run \(.*my ffmpeg.*IMAGEIO_FFMPEG_EXE"):
        check_writable(tmp_path / "a.mp4")
    check_writable(f"{tmp_path}/frames/")


@pytest.mark.parametrize("output", ["a.mp4", "frames/"])
def test_a_full_disk_is_told_before_anything_is_generated(tmp_path, monkeypatch, capsys, nothing_loads, output):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    assert main(["generate", "a ball", "-o", f"{tmp_path}/{output}"]) == 2
    assert "Make room, or write to another disk." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["interpolate", "upscale"])
def test_a_full_disk_is_told_before_a_video_is_worked_on(tmp_path, monkeypatch, capsys, nothing_loads, command):
    write_video(tmp_path / "in.mp4", np.zeros((4, 16, 24, 3), np.uint8), 8)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    assert main([command, str(tmp_path / "in.mp4"), "-o", str(tmp_path / "out.mp4")]) == 2
    assert "of disk space" in capsys.readouterr().err


def test_the_size_that_the_cascade_will_make_is_known_beforehand():
    cascade = CascadePipeline.from_pretrained(BUNDLED, CPU)
    assert cascade.size_made(num_frames=5, height=64, width=96) == (17, 256, 384)
    assert cascade.size_made(interpolate=False, num_frames=5, height=64, width=96) == (5, 256, 384)
    assert cascade.size_made(upscale=False, num_frames=1, height=64, width=96) == (1, 64, 96)
    assert cascade.size_made(video=np.zeros((3, 32, 48, 3), np.uint8), strength=0.5) == (9, 128, 192)


@pytest.mark.parametrize("kind", [TextToVideoPipeline, InterpolationPipeline, UpscalePipeline])
def test_the_work_told_from_file_headers_is_that_of_the_loaded_stage(kind):
    size = (4, 16, 24)
    stage = kind.from_pretrained(BUNDLED, CPU, torch.float32).stage
    loaded = _work(stage, stage.spec.latents_of(*size), 1, stage.spec.encodes)
    ahead = workload_ahead(stage.family, stage.name, CPU, torch.float32, size, stage.spec.encodes)
    assert ahead.weights.unet == loaded.weights.unet
    assert ahead.weights.all == pytest.approx(loaded.weights.all, rel=0.01)  # buffers
    assert replace(ahead, weights=loaded.weights, beside=loaded.beside) == loaded


def test_a_cascade_whose_upscaler_does_not_fit_is_refused_before_the_base_begins(monkeypatch, nothing_loads):
    computer(monkeypatch, 3_000_000_000)
    cascade = CascadePipeline.from_pretrained(BUNDLED, CPU)
    with pytest.raises(UsageError, match=r"The upscaler stage takes about .* GB of memory as asked, and 3\.0 GB"):
        cascade("a ball", num_frames=16, height=512, width=512, num_inference_steps=1, interpolate=False)


def test_with_a_limit_the_whole_cascade_is_planned_before_the_base_begins(nothing_loads):
    cascade = CascadePipeline.from_pretrained(BUNDLED, CPU, memory=10_000_000)
    with pytest.raises(UsageError, match="too small"):
        cascade("a ball", num_inference_steps=1)


def test_what_is_refused_as_asked_names_the_memory_that_tries_it_all_the_same(monkeypatch):
    computer(monkeypatch, 1_000_000_000)
    family = find_family(BUNDLED)
    work = workload_ahead(family, "base", CPU, torch.float32, (16, 1024, 1024), False)
    config = RELEASED_STAGES["base"]
    with pytest.raises(UsageError, match=r"--memory auto.*--memory \d+GB tries it all the same") as refused:
        budget.require_host_memory(work, config)
    named = int(str(refused.value).rpartition("--memory ")[2].partition("GB")[0]) * 10**9
    assert budget.fitted(work, config, named, offloads=False).notes == ()
    budget.require_host_memory(replace(work, device="cuda"), config)
