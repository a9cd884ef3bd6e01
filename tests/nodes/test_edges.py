"""Where two settings or two stages meet."""

import pytest
import torch
from support.graph import clip_of, encode, extend, interpolate, part, run, sample, stage, wires

from lavie.config import RELEASED_STAGES

refused = part("lavie.errors").UsageError


def test_an_overlap_that_is_not_named_shrinks_with_its_window():
    own = RELEASED_STAGES["interpolation"]
    assert own.replaced(window=3).overlap == 2
    assert own.replaced(window=12).overlap == own.overlap
    assert own.replaced(window=3, overlap=1).overlap == 1
    assert own.replaced(window=0).overlap == own.overlap


def test_a_small_window_alone_is_enough():
    assert len(interpolate(clip_of(5, 16, 24), window=2, steps=1)) == 17


def test_the_upscalers_latents_do_not_go_into_the_base_stage():
    latent = run("LaVieVAEEncode", images=clip_of(4, 16, 16), vae=stage("upscaler").vae)[0]
    for node in ("LaVieBaseSampler", "LaVieAutoregressiveExtender"):
        with pytest.raises(refused, match="4 pixels per latent pixel"):
            run(node, **wires("base"), latent=latent, seed=0)


def test_the_largest_seed_goes_round():
    latent = run("LaVieEmptyLatentVideo", width=16, height=16, num_frames=2, batch_size=2)[0]
    both = sample(latent=latent, seed=2**64 - 1, steps=1)
    second = sample(num_frames=2, width=16, height=16, seed=0, steps=1)
    assert torch.allclose(both[1:], second, atol=1e-4)


def test_the_extender_returns_any_latents_as_they_came():
    given = torch.rand(1, 4, 5, 2, 3) * 7.3
    longer = extend(given, num_frames=2, context_frames=2, steps=1)
    assert torch.equal(longer[:, :, :5], given)


@pytest.mark.parametrize("shape", [(0, 64, 96, 3), (1, 7, 7, 3)])
def test_no_frames_and_tiny_images_are_named(shape):
    with pytest.raises(refused, match=r"0 frame|7×7"):
        encode(torch.zeros(shape))


@pytest.mark.parametrize("node", ["LaVieBaseSampler", "LaVieAutoregressiveExtender", "LaVieEmptyLatentVideo"])
def test_a_wrong_stage_is_named_by_the_node_that_got_it(node):
    title = part("nodes").NODE_DISPLAY_NAME_MAPPINGS[node]
    given = {**wires("upscaler"), "latent": {"samples": torch.zeros(1, 4, 2, 4, 4)}, "width": 0}
    wanted = part("nodes").NODE_CLASS_MAPPINGS[node].INPUT_TYPES()
    names = {*wanted["required"], *wanted.get("optional", {})}
    with pytest.raises(refused, match=f"{title} needs the base stage"):
        run(node, **{name: value for name, value in given.items() if name in names})


def test_a_closed_model_folder_is_a_sentence_on_the_node(monkeypatch):
    def closed(*_):
        raise PermissionError(13, "Permission denied", "/models/lavie/family.json")

    monkeypatch.setattr(part("nodes.loaders"), "resolve", closed)
    with pytest.raises(part("lavie.errors").LavieError, match=r"^/models/lavie/family.json is closed to LaVie"):
        run("LaVieLoader")


def test_a_lora_is_not_trained_where_its_file_cannot_be_written(monkeypatch, tmp_path):
    host, images = part("nodes.host"), clip_of(1, 64, 96)
    monkeypatch.setattr(host, "output_folder", lambda: tmp_path / "output")
    monkeypatch.setattr(host, "loras_folder", lambda: tmp_path / "loras")

    def closed(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(part("lavie.locks"), "_opened", closed)
    with pytest.raises(refused, match=r"my_lora\.safetensors cannot be written"):
        run("LaVieLoraTrainer", images=images, trigger="zorb", prior_prompt="a ball", prior_images=1)
    assert not list(tmp_path.iterdir())


def test_a_lora_gets_no_name_that_windows_cannot_hold(monkeypatch, tmp_path):
    host = part("nodes.host")
    monkeypatch.setattr(host, "output_folder", lambda: tmp_path / "output")
    monkeypatch.setattr(host, "loras_folder", lambda: tmp_path / "loras")
    for name in ("con", "NUL.safetensors", "my_lora."):
        with pytest.raises(refused, match="Windows"):
            run("LaVieLoraTrainer", images=clip_of(1, 64, 96), trigger="zorb", lora_name=name)
    assert not list(tmp_path.iterdir())
