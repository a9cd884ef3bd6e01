"""The autoencoders on the one loop: their images, what the loss counts, runs that resume, folders for diffusers."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL

from lab.autoencoder import (
    RECIPES,
    Autoencoder,
    AutoencoderRecipe,
    AutoencoderStage,
    RenderedImages,
    image_data,
    new_autoencoder,
)
from lab.autoencoder.images import whole_images
from lab.autoencoder.loss import loss_terms
from lab.autoencoder.network import Reconstruction
from lab.autoencoder.stage import latent_scale
from lavie.errors import UsageError
from lavie.training.data import ClipRequest
from lavie.training.data.randomness import generator_of
from lavie.training.loop import LoopSettings, train
from lavie.training.muon import orthogonalise

pytest.importorskip("accelerate")
pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = AutoencoderRecipe("vae", (8, 16), False, height=32, width=48, crop=16, batch_size=4)
SETTINGS = {"optimizer": "muon", "learning_rate": 2e-3, "warmup": 2, "log_every": 1, "save_every": 0, "device": "cpu"}


def small_stage(recipe=SMALL, steps=6, vae=None):
    torch.manual_seed(0)
    return AutoencoderStage(vae or new_autoencoder(recipe), recipe, steps, recipe.batch_size)


def run(folder, recipe=SMALL, steps=6, on_step=None, vae=None, **changes):
    settings = LoopSettings(**{**SETTINGS, "steps": steps, "batch_size": recipe.batch_size, **changes})
    data = image_data(recipe, steps, recipe.batch_size, settings.seed)
    return train(small_stage(recipe, steps, vae), data, settings, folder, on_step)


class Losses(list):
    """The terms of every step; after step `stop` the run gets a signal to stop."""

    def __init__(self, stop=None):
        super().__init__()
        self.stop = stop

    def __call__(self, step, terms):
        self.append({name: value.item() for name, value in terms.items()})
        if step == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


# -- images ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_sees_crops_first_and_whole_images_later(name):
    recipe = RECIPES[name]
    data = image_data(recipe, 100, recipe.batch_size, seed=0)
    change = round(100 * recipe.whole_from)
    sizes = {"before": (recipe.crop, recipe.crop), "after": recipe.whole_size}
    for step, size in ((change - 1, sizes["before"]), (change, sizes["after"]), (99, sizes["after"])):
        if step < 0:
            continue
        tensors = data[step * recipe.batch_size].clip.tensors
        assert tensors["video"].shape == (3, 1, *size)
        assert tensors["mask"].shape == (1, 1, *size)
        assert -1 <= tensors["video"].min() < tensors["video"].max() <= 1


def test_most_crops_show_a_sprite_and_some_need_not():
    source, request = RenderedImages(64, 96), ClipRequest(1, 16, 16, crop="patch")
    shares = [source.read(row, request, generator_of(row)).tensors["mask"].mean().item() for row in range(80)]
    assert 0.7 < sum(share > 0 for share in shares) / 80 < 1
    with pytest.raises(UsageError, match="larger than images of 64x96"):
        source.read(0, ClipRequest(1, 80, 80, crop="patch"), generator_of(0))


def test_images_show_one_to_three_sprites_and_all_colours():
    scenes = [RenderedImages(64, 96).scenes(row) for row in range(200)]
    assert {len(found) for found in scenes} == {1, 2, 3}
    assert {scene.colour for found in scenes for scene in found} >= {"red", "white", "brown", "turquoise"}


def test_an_example_depends_on_its_number_and_the_seed_alone():
    first, again, other = (image_data(SMALL, 6, 4, seed) for seed in (0, 0, 1))
    list(again.loader(0, 2))
    video = first[5].clip.tensors["video"]
    assert torch.equal(video, again[5].clip.tensors["video"])
    assert not torch.equal(video, other[5].clip.tensors["video"])
    assert not torch.equal(video, first[6].clip.tensors["video"])


# -- the loss ----------------------------------------------------------------------------------------------------------


def test_errors_inside_a_sprite_count_more_and_a_perfect_image_has_none():
    image, mask = torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    latents = torch.zeros(1, 4, 8, 8)
    inside, outside = image.clone(), image.clone()
    inside[..., 2:6, 2:6] = outside[..., 2:6, 10:14] = 0.5
    terms = {
        name: loss_terms(image, mask, Reconstruction(decoded, latents, latents), SMALL, 0.0)
        for name, decoded in (("inside", inside), ("outside", outside), ("nowhere", image))
    }
    assert terms["inside"]["pixel"] == pytest.approx(SMALL.mask_weight * terms["outside"]["pixel"].item())
    assert terms["inside"]["edges"] > terms["outside"]["edges"] > 0
    assert terms["inside"]["colour"] > terms["outside"]["colour"] > 0
    assert terms["nowhere"]["total"] == 0  # a standard normal posterior has no divergence, either


def test_the_guide_pulls_latents_towards_the_colours_of_blocks_and_lets_go():
    assert SMALL.guide(0, 100) == SMALL.guide_weight
    assert SMALL.guide(10, 100) == pytest.approx(SMALL.guide_weight / 2)
    assert SMALL.guide(20, 100) == SMALL.guide(99, 100) == 0
    stage, data = small_stage(steps=100), image_data(SMALL, 100, 4, 0)
    for step, weight in ((0, 0.5), (10, 0.25), (40, 0.0)):
        terms = stage.loss(stage.model, [data[step * 4 + place] for place in range(4)])
        others = terms["pixel"] + 2 * terms["colour"] + terms["edges"] + 1e-6 * terms["kl"]
        torch.testing.assert_close(terms["total"], others + weight * terms["guide"])


def test_each_term_is_a_mean_over_the_images():
    stage, data = small_stage(), image_data(SMALL, 6, 4, 0)
    examples = [data[number] for number in range(4)]
    whole = stage.loss(stage.model, examples)
    parts = [stage.loss(stage.model, [example]) for example in examples]
    for name, value in whole.items():
        torch.testing.assert_close(value, sum(part[name] for part in parts) / 4, msg=name)


# -- runs --------------------------------------------------------------------------------------------------------------


def test_what_a_run_has_not_seen_is_told_better_after_it(tmp_path):
    stage = small_stage(steps=100)
    unseen = [image_data(SMALL, 100, 4, seed=9)[number] for number in range(16)]
    trained = run(tmp_path, steps=30, learning_rate=5e-3, warmup=5, ema_decay=0.9).model
    with torch.no_grad():
        before, after = (stage.loss(model, unseen) for model in (stage.model, trained))
    for name, most in (("pixel", 0.85), ("colour", 0.92), ("edges", 0.75)):
        assert after[name] < most * before[name], name


@pytest.mark.parametrize("changes", [{}, {"mixed_precision": "bf16"}, {"micro_batch": 2, "workers": 1}], ids=str)
def test_a_resumed_run_is_the_uninterrupted_one_to_the_last_bit(tmp_path, changes):
    whole, parts = Losses(), Losses(stop=2)
    uninterrupted = run(tmp_path / "whole", on_step=whole, **changes)
    stopped = run(tmp_path / "parts", on_step=parts, **changes)
    assert (stopped.stopped, stopped.steps) == (True, 2)
    resumed = run(tmp_path / "parts", on_step=parts, **changes)
    assert whole == parts
    assert torch.equal(weights(uninterrupted.model), weights(resumed.model))


def test_training_only_the_decoder_keeps_the_latents(tmp_path):
    start = new_autoencoder(SMALL)
    start.register_to_config(scaling_factor=0.3)
    before = {name: value.clone() for name, value in start.state_dict().items()}
    recipe = replace(SMALL, decoder_only=True, decoder_noise=0.02, guide_weight=0.0)
    stage = small_stage(recipe)
    result = run(tmp_path, recipe, steps=2, vae=start)
    changed = {name for name, value in result.model.vae.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith(("decoder.", "post_quant_conv."))}
    stage.save(result.model, tmp_path / "family")
    assert AutoencoderKL.from_pretrained(tmp_path / "family" / "vae").config.scaling_factor == 0.3


def test_a_lone_decoder_learns_from_latents_with_noise_of_its_own():
    vae = new_autoencoder(SMALL).eval()
    vae.register_to_config(scaling_factor=0.25)
    image, noise = whole_images(SMALL, 1, 0), torch.randn(1, 4, 16, 24, generator=generator_of(0))
    mean = vae.encode(image).latent_dist.mean
    made = Autoencoder(vae, decoder_only=True, decoder_noise=0.05)(image, noise)
    torch.testing.assert_close(made.decoded, vae.decode(mean + 0.2 * noise).sample)
    assert made.decoded.requires_grad
    assert not made.mean.requires_grad


def test_diffusers_loads_what_was_saved_and_its_latents_have_a_standard_deviation_of_one(tmp_path):
    stage = small_stage()
    stage.save(stage.model.eval(), tmp_path)
    loaded = AutoencoderKL.from_pretrained(tmp_path / "vae", torch_dtype=torch.float32).eval()
    torch.testing.assert_close(weights(loaded), weights(stage.model.vae), atol=1e-3, rtol=1e-3)
    with torch.no_grad():
        latents = loaded.encode(whole_images(SMALL, 64, seed=7)).latent_dist.mean * loaded.config.scaling_factor
    assert latents.std().item() == pytest.approx(1, abs=0.05)
    assert loaded.config.scaling_factor / latent_scale(loaded, SMALL) == pytest.approx(1, abs=0.01)
    assert sorted(path.name for path in (tmp_path / "vae").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert str(tmp_path) not in (tmp_path / "vae" / "config.json").read_text()


def test_samples_show_images_above_their_reconstructions():
    stage = small_stage()
    with torch.no_grad():
        (frames,) = stage.samples(stage.model.eval()).values()
    assert frames.shape == (6, 64, 48, 3)
    images = whole_images(SMALL, 6, seed=0)
    expected = ((images / 2 + 0.5) * 255).round().permute(0, 2, 3, 1).numpy()
    assert abs(frames[:, :32].astype(float) - expected).max() <= 1
    assert abs(frames[:, 32:].astype(float) - expected).mean() > 10  # a fresh network knows nothing


def test_tensorboard_gets_terms_and_images(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    losses = Losses()
    run(tmp_path, steps=4, on_step=losses, sample_every=2, log_every=2)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for name in ("total", "pixel", "colour", "edges", "kl", "guide"):
        curve = events.Scalars(f"train/{name}")
        assert [event.step for event in curve] == [2, 4]
        assert curve[0].value == pytest.approx((losses[0][name] + losses[1][name]) / 2, rel=1e-5)
    images = events.Images("samples/images and reconstructions")
    assert [(event.step, event.width, event.height) for event in images] == [(2, 6 * 48, 64), (4, 6 * 48, 64)]


def test_orthogonalised_matrices_have_singular_values_near_one():
    values = torch.linalg.svdvals(orthogonalise(torch.randn(12, 40, generator=torch.Generator().manual_seed(0))))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_the_log_names_every_term(tmp_path):
    run(tmp_path, steps=2)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert {"total", "pixel", "colour", "edges", "kl", "guide", "learning_rate", "samples_per_second"} <= set(lines[0])
