"""LaVie LoRA Trainer: images in, a file out that the loader takes; Cancel keeps what is done."""

import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from support.graph import part, run, sample, stage

host = part("nodes.host")
UsageError = part("lavie.errors").UsageError
BATCH = torch.rand(2, 70, 90, 3, generator=torch.Generator().manual_seed(0))
QUICK = {"images": BATCH, "trigger": "zorb", "steps": 2, "rank": 2, "learning_rate": 1e-2, "preview_every": 0}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "loras_folder", lambda: tmp_path / "loras")
    monkeypatch.setattr(host, "output_folder", lambda: tmp_path / "output")
    return tmp_path


def train(**given):
    with torch.inference_mode():  # as the host runs nodes
        return run("LaVieLoraTrainer", **{**QUICK, **given})


def test_it_writes_a_lora_that_fits_and_leaves_nothing_else(folders):
    made = train(lora_name="zorb", captions="a zorb on grass\na ball over the sea")
    assert made["result"] == ("zorb.safetensors",)
    tensors = load_file(folders / "loras" / "zorb.safetensors")
    assert any(tensor.any() for name, tensor in tensors.items() if name.endswith("lora_up.weight"))
    lora = part("lavie.lora").Lora.read(folders / "loras" / "zorb.safetensors")
    layers = part("lavie.lora").spatial_layers(stage("base").model.model.diffusion_model)
    assert set(lora.layers) <= set(layers)
    assert not list((folders / "output" / "lavie_lora_runs").iterdir())


def test_training_leaves_the_loaded_model_as_it_is(folders):
    before = sample()
    train()
    assert torch.equal(sample(), before)


def test_the_same_seed_gives_the_same_lora_and_another_one_another(folders):
    files = [train(lora_name=name, seed=seed)["result"][0] for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    first, second, third = (load_file(folders / "loras" / file) for file in files)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


def test_a_run_that_an_older_version_left_unfinished_is_found_again():
    """The folder's name is a digest of the settings; these eight digits are version 0.1.0's."""
    node, settings = part("nodes.lora_training"), part("lavie.training.lora.settings")
    prior = {"prior_prompts": ("a ball",), "prior_images": 3, "prior_frames": 4, "handheld_share": 0.5}
    lora = settings.LoraSettings(rank=2, trigger="zorb", camera_moves=(("grass", "left"),), **prior)
    often = {"save_every": 150, "sample_every": 100, "keep": 1}
    more = {"warmup": 50, "ema_decay": 0.0, "seed": 3, "device": "cpu", **often}
    loop = part("lavie.training.settings").LoopSettings(steps=600, batch_size=1, learning_rate=1e-4, **more)
    image = part("lavie.training.lora.data").CaptionedImage("a", "a zorb", torch.zeros(3, 1, 16, 24))
    assert node._digest([image], lora, loop, SimpleNamespace(folder="lavie-tiny")) == "a29d3baa"


def test_after_cancel_the_same_settings_go_on_to_the_same_lora(folders, monkeypatch):
    whole = load_file(folders / "loras" / train(steps=4, lora_name="whole")["result"][0])

    class Cancelled(BaseException):
        pass

    def step(self, phase, done, total, *_):
        if phase == "train" and done == 2:
            raise Cancelled

    with monkeypatch.context() as patch:
        patch.setattr(host, "interruption", lambda: (Cancelled,))
        patch.setattr(host.Progress, "step", step)
        with pytest.raises(Cancelled):
            train(steps=4, lora_name="parts")
    assert not (folders / "loras" / "parts.safetensors").exists()
    (kept,) = (folders / "output" / "lavie_lora_runs").iterdir()
    assert (kept / "checkpoint-2").is_dir()
    parts = load_file(folders / "loras" / train(steps=4, lora_name="parts")["result"][0])
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_moves_of_the_camera_are_read_line_by_line():
    lines = "the camera zooms in = nearer\n\n  f(x)=y, still=still "
    settings = part("nodes.widgets").given(part("nodes.lora_training").LORA, {"camera_moves": lines})
    assert settings == {"camera_moves": (("the camera zooms in", "nearer"), ("f(x)=y, still", "still"))}


def test_previews_are_images_of_the_captions(folders, monkeypatch):
    seen = []
    monkeypatch.setattr(host.Progress, "image", lambda self, done, total, pixels: seen.append((done, pixels.shape)))
    train(preview_every=1, captions="a zorb on grass\na ball over the sea")
    assert seen == [(1, (64, 2 * 96, 3)), (2, (64, 2 * 96, 3))]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"captions": "one\ntwo\nthree"}, "3 captions for 2 images"),
        ({"trigger": ""}, "need a trigger"),
        ({"lora_name": "../outside"}, "cannot be the name"),
        ({"lora_name": ""}, "cannot be the name"),
        ({"prior_prompt": "a zorb"}, "holds the trigger"),
        ({"model": "gone"}, "no model 'gone'"),
        ({"camera_moves": "standing still=still\ngrowing"}, "'growing' is no move"),
        ({"camera_moves": "standing still=still"}, "handheld_share above 0"),
    ],
)
def test_bad_input_is_answered_with_a_sentence(folders, given, message):
    with pytest.raises(UsageError, match=message):
        train(**given)
    assert not list(folders.rglob("*.safetensors"))


@pytest.mark.parametrize("package", ["peft", "accelerate"])
def test_a_missing_package_is_named_before_any_work(folders, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # importing it raises
    worked = []
    monkeypatch.setattr(host.Progress, "step", lambda *told: worked.append(told))
    monkeypatch.setattr(host, "free_models", lambda: worked.append("free_models"))
    with pytest.raises(part("lavie.errors").LavieError, match=f"needs the package {package} .*pip install") as told:
        train(prior_prompt="a red ball", prior_images=2)
    assert str(told.value).endswith(".")
    assert worked == []
    assert not list(folders.iterdir())


def test_it_learns_from_clips_as_long_as_those_that_were_sampled_before(folders):
    """What the network keeps of 4 frames from sampling, in the host's inference mode, serves learning as well."""
    part("lavie.models.positions").FramePositions.of.cache_clear()
    with torch.inference_mode():
        sample()
    made = train(prior_prompt="a red ball", prior_images=1, prior_frames=4, captions="a zorb\na zorb")
    assert (folders / "loras" / made["result"][0]).is_file()
