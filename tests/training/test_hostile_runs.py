"""Run folders of strangers: nothing in them runs when a run goes on, whatever version of accelerate loads them."""

import json
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lavie.errors import LavieError
from lavie.training import logs, run_state
from lavie.training.lora.data import kept_latents


class Attack:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder / "pwned"),)


class OldAccelerator:
    """As accelerate 0.30 loads a state: pickles without weights_only."""

    distributed_type = SimpleNamespace(value="NO")
    num_processes = 1

    def load_state(self, folder):
        self.optimizer = torch.load(f"{folder}/optimizer.bin", weights_only=False)
        self.random = torch.load(f"{folder}/random_states_0.pkl", weights_only=False)


@pytest.fixture
def run(tmp_path):
    checkpoint = tmp_path / "checkpoint-3"
    checkpoint.mkdir()
    (checkpoint / "run.json").write_text(json.dumps({"step": 3, "seconds": 1.5, "processes": 1}))
    torch.save({"state": {0: {"exp_avg": torch.ones(2)}}}, checkpoint / "optimizer.bin")
    torch.save({"step": 3, "numpy": np.random.get_state()}, checkpoint / "random_states_0.pkl")
    return tmp_path


def resume(folder, accelerator=None):
    return run_state.resume(folder, accelerator or OldAccelerator(), SimpleNamespace(load=lambda file: None))


def test_a_sound_run_goes_on_with_its_generators(run):
    accelerator = OldAccelerator()
    assert resume(run, accelerator) == run_state.RunProgress(3, 1.5)
    assert torch.equal(accelerator.optimizer["state"][0]["exp_avg"], torch.ones(2))
    assert np.array_equal(accelerator.random["numpy"][1], np.random.get_state()[1])
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("name", ["optimizer.bin", "random_states_0.pkl", "scheduler.bin", "custom_checkpoint_0.pkl"])
@pytest.mark.parametrize("form", ["archive", "older form", 2, 4])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(run, name, form):
    file = run / "checkpoint-3" / name
    if isinstance(form, int):
        file.write_bytes(pickle.dumps({"step": Attack(run)}, form))
    else:
        torch.save({"step": Attack(run)}, file, _use_new_zipfile_serialization=form == "archive")
    with pytest.raises(LavieError, match=rf"{name} was not opened: it names (posix|nt)\.mkdir"):
        resume(run)
    assert not (run / "pwned").exists()


def test_a_pickle_of_the_oldest_protocol_is_refused(run):
    (run / "checkpoint-3" / "scheduler.bin").write_bytes(pickle.dumps({"step": Attack(run)}, 0))
    with pytest.raises(LavieError, match="it is no pickle"):
        resume(run)
    assert not (run / "pwned").exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"step": "3"}', '{"step": 3, "seconds": 1e999, "processes": 1}'])
def test_a_damaged_note_of_a_run_is_told_in_a_sentence(run, text):
    (run / "checkpoint-3" / "run.json").write_text(text)
    with pytest.raises(LavieError, match=r"run\.json|checkpoint-3"):
        resume(run)


def test_lines_of_the_logs_that_a_stop_cut_off_do_not_end_the_next_run(tmp_path):
    skipped = tmp_path / "skipped.jsonl"
    skipped.write_text('{"name": "a.mp4", "reason": "it is damaged"}\n{"name": 3}\n[[[[\n{"name": "b.m')
    assert logs.SkippedFiles(tmp_path).entries() == [{"name": "a.mp4", "reason": "it is damaged"}]
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 2}\n{"step": "3"}\n{"step": 1e999}\n{"step": 9}\n{"st')
    logs._forget_after(log, 5)
    assert log.read_text() == '{"step": 2}\n'


@pytest.mark.parametrize("damage", ["cut off", "no latents", "another shape", "other clips", "no file of tensors"])
def test_damaged_clips_of_the_base_are_made_once_more(tmp_path, damage):
    file, shape = tmp_path / "prior.safetensors", (2, 4, 1, 8, 8)
    save_file({"latents": torch.zeros(shape)}, file, {"asked": "a cat"})
    assert kept_latents(file, "a cat", shape) is not None
    if damage == "cut off":
        file.write_bytes(file.read_bytes()[:-8])
    elif damage == "no file of tensors":
        file.write_text("a cat")
    elif damage == "no latents":
        save_file({"other": torch.zeros(shape)}, file, {"asked": "a cat"})
    elif damage == "another shape":
        save_file({"latents": torch.zeros(3, 4, 1, 8, 8)}, file, {"asked": "a cat"})
    asked = "a dog" if damage == "other clips" else "a cat"
    assert kept_latents(file, asked, shape) is None
