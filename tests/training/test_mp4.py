"""`lavie train base` on a folder of ordinary mp4 files: broken ones are named, and a stopped run goes on exactly."""

import json
import os
import signal
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from safetensors.torch import load_file
from support.training_family import make_family

from lavie.cli import main
from lavie.training import run_state

STEPS = 6
CAPTIONS = {
    "testsrc": "a test card with a moving bar",
    "life": "life on a small board",
    "mandelbrot": "colours that turn and mix slowly",
}

pytest.importorskip("accelerate")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three mp4 files made with ffmpeg, each with its caption beside it, and one whose download stopped."""
    folder = tmp_path_factory.mktemp("clips")
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    for pattern, caption in CAPTIONS.items():
        out = folder / f"{pattern}.mp4"
        source = ("-f", "lavfi", "-i", f"{pattern}=size=48x32:rate=16", "-t", "2")
        subprocess.run([ffmpeg, "-v", "error", *source, "-pix_fmt", "yuv420p", str(out)], check=True)
        out.with_suffix(".txt").write_text(caption)
    broken = folder / "broken.mp4"
    broken.write_bytes((folder / "testsrc.mp4").read_bytes()[:400])
    broken.with_suffix(".txt").write_text("a clip whose download stopped")
    return folder


@pytest.fixture
def train(clips, capsys):
    """Runs `lavie train base` on the folder: exit code and standard error."""

    def run(family, folder):
        data = ("--videos", clips, "--frames", 4, "--family", family, "--run", folder)
        learn = ("--steps", STEPS, "--batch", 2, "--learning-rate", 1e-3, "--warmup", 2)
        often = ("--save-every", 1, "--log-every", 1, "--device", "cpu", "--threads", 1)
        code = main([str(value) for value in ("train", "base", *data, *learn, *often)])
        return code, capsys.readouterr().err

    return run


def losses(run: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["total"]) for line in lines]


def weights(family: Path) -> dict[str, torch.Tensor]:
    return load_file(family / "base" / "model.safetensors")


def test_a_folder_of_mp4_files_trains_and_a_stopped_run_goes_on_as_if_it_had_not_stopped(train, tmp_path, monkeypatch):
    whole, halved = make_family(tmp_path / "whole"), make_family(tmp_path / "halved")
    before = weights(whole)
    code, told = train(whole, tmp_path / "run_whole")
    assert code == 0, told
    assert "3 kept" in told
    assert "broken.mp4" in told

    save = run_state.save

    def save_and_stop(folder, accelerator, average, progress, keep):
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return save(folder, accelerator, average, progress, keep)

    with monkeypatch.context() as patch:
        patch.setattr(run_state, "save", save_and_stop)
        code, told = train(halved, tmp_path / "run_halved")
    assert code == 143, told
    assert "run the same command" in told
    assert 2 <= losses(tmp_path / "run_halved")[-1][0] < STEPS
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(halved).items())  # written at the end

    code, told = train(halved, tmp_path / "run_halved")
    assert code == 0, told
    assert losses(tmp_path / "run_halved") == losses(tmp_path / "run_whole")
    learnt = weights(whole)
    assert all(torch.equal(tensor, learnt[name]) for name, tensor in weights(halved).items())
    assert any(not torch.equal(tensor, before[name].half()) for name, tensor in learnt.items())
