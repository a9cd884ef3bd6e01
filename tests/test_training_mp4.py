"""`lavie train base` on a folder of ordinary mp4 files: broken ones are named, and a stopped run goes on exactly."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from training_family import make_family

ROOT = Path(__file__).resolve().parents[1]
STEPS = 6
CAPTIONS = ("a test card with a moving bar", "life on a small board", "colours that turn and mix slowly")
PATTERNS = ("testsrc", "life", "mandelbrot")

pytest.importorskip("accelerate")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three mp4 files made with ffmpeg, each with its caption beside it, and one that is broken."""
    folder = tmp_path_factory.mktemp("clips")
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    for pattern, caption in zip(PATTERNS, CAPTIONS, strict=True):
        source = f"{pattern}=size=48x32:rate=16"
        out = folder / f"{pattern}.mp4"
        command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-t", "2", "-pix_fmt", "yuv420p", str(out)]
        subprocess.run(command, check=True)
        out.with_suffix(".txt").write_text(caption)
    broken = folder / "broken.mp4"
    broken.write_bytes((folder / "testsrc.mp4").read_bytes()[:400])
    broken.with_suffix(".txt").write_text("a clip whose download stopped")
    return folder


def command(family, run, clips, *more):
    data = ["--family", family, "--videos", clips, "--frames", "4", "--run", run]
    learn = [
        "--steps",
        STEPS,
        "--batch",
        "2",
        "--save-every",
        "1",
        "--log-every",
        "1",
        "--device",
        "cpu",
        "--threads",
        "1",
        *more,
    ]
    return [sys.executable, "-m", "lavie", "train", "base", *map(str, (*data, *learn))]


def train(*arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=ROOT, env=environment, check=False, **options
    )


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def weights(family: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(family / "base" / "model.safetensors")


def test_a_folder_of_mp4_files_trains_and_a_stopped_run_goes_on_as_if_it_had_not_stopped(clips, tmp_path):
    whole, halved = make_family(tmp_path / "whole"), make_family(tmp_path / "halved")
    done = train(whole, tmp_path / "run_whole", clips)
    assert done.returncode == 0, done.stderr
    assert "broken.mp4" in done.stderr

    process = subprocess.Popen(
        command(halved, tmp_path / "run_halved", clips),
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    log, patience = tmp_path / "run_halved" / "log.jsonl", time.monotonic() + 120
    while not (log.exists() and log.read_text().count("\n") >= 2) and time.monotonic() < patience:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 143, told
    assert "goes on" in told
    stopped_at = lines(tmp_path / "run_halved")[-1]["step"]
    assert 2 <= stopped_at < STEPS

    again = train(halved, tmp_path / "run_halved", clips)
    assert again.returncode == 0, again.stderr
    assert [(line["step"], line["total"]) for line in lines(tmp_path / "run_halved")] == [
        (line["step"], line["total"]) for line in lines(tmp_path / "run_whole")
    ]
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(halved).items())
