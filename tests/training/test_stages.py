"""Each stage's objective: what its network is given, what it learns, and that chance stays with the example."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.training_family import FRAMES, HEIGHT, WIDTH, make_family

from lab.training.data import World
from lavie import ExtensionPipeline, TextToVideoPipeline
from lavie.checkpoints import load_unet
from lavie.errors import UsageError
from lavie.training.data import ClipRequest, Mixture, TrainingData
from lavie.training.data.clip import Clip
from lavie.training.settings import StageSettings
from lavie.training.stages import STAGES, Denoiser, StageNetworks
from lavie.training.stages.extension import random_mask
from lavie.training.stages.interpolation import between, check_frames
from lavie.training.stages.upscaler import reduced
from lavie.training.start import load_start, load_text_of, load_vae_of, open_family

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {
    "base": StageSettings((FRAMES,), HEIGHT, WIDTH, images_per_clip=2, mask_weight=3.0),
    "interpolation": StageSettings((5,), HEIGHT, WIDTH),
    "upscaler": StageSettings((3,), 32, 64),
    "extension": StageSettings((FRAMES,), HEIGHT, WIDTH),
}
MASKED = StageSettings((FRAMES,), HEIGHT, WIDTH, conditioning="mask")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_family(tmp_path_factory.mktemp("family"), ("base", "upscaler"))


@pytest.fixture
def make(folder):
    """A stage as `lavie train` would build it from the family."""

    def build(name, settings=None, text_learns=False):
        settings = settings or SIZES[name]
        family = open_family(folder, name, None)
        unet = load_start(family, name, None, settings.conditioning, 0).unet
        text, _ = load_text_of(family, name, None, text_learns)
        base_vae = load_vae_of(family, "base") if name == "upscaler" else None
        parts = StageNetworks(family, family.stage(name), text, load_vae_of(family, name), base_vae)
        text.model.requires_grad_(text_learns)
        return STAGES[name](Denoiser(unet, text.model if text_learns else None), parts, settings)

    return build


def examples(settings, count=2):
    request = ClipRequest(settings.frames[0], settings.height, settings.width)
    images = settings.images_per_clip
    data = TrainingData(Mixture([World(8)]), request, count, 0, Mixture([World(8, stills=True)]), num_images=images)
    return [data[number] for number in range(count)]


def losses(stage, given, steps, rate=2e-3):
    optimizer = torch.optim.AdamW([p for p in stage.model.parameters() if p.requires_grad], rate)
    history = []
    for _ in range(steps):
        terms = stage.loss(stage.model, given)
        terms["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append(terms["total"].item())
    return history


# -- learning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "settings"), [*SIZES.items(), ("extension", MASKED)])
def test_every_stage_learns_one_batch_by_heart(make, name, settings):
    history = losses(make(name, settings), examples(settings), steps=25)
    assert min(history[-3:]) < 0.3 * history[0]


def test_the_text_encoder_learns_with_the_base_where_it_is_told_to(make):
    stage = make("base", text_learns=True)
    before = [weight.clone() for weight in stage.model.text_model.parameters()]
    losses(stage, examples(stage.settings), steps=2)
    assert any(not torch.equal(a, b) for a, b in zip(before, stage.model.text_model.parameters(), strict=True))
    frozen = make("base")
    assert frozen.model.text_model is None
    assert not any(weight.requires_grad for weight in frozen.parts.text_encoder.model.parameters())


# -- chance belongs to the example -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "settings"), [*SIZES.items(), ("extension", MASKED)])
@torch.no_grad()
def test_a_batch_is_the_mean_of_its_examples(make, name, settings):
    stage, given = make(name, settings), examples(settings)
    together = stage.loss(stage.model, given)
    alone = [stage.loss(stage.model, [example]) for example in given]
    for part, value in together.items():
        expected = torch.stack([terms[part] for terms in alone]).mean()
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_images_add_alpha_times_their_loss(make):
    stage = make("base", replace(SIZES["base"], image_weight=0.25))
    terms = stage.loss(stage.model, examples(stage.settings))
    torch.testing.assert_close(terms["total"], terms["video"] + 0.25 * terms["image"])


@torch.no_grad()
def test_dropped_captions_are_not_read(make):
    stage = make("base", replace(SIZES["base"], text_dropout=1.0))
    given = examples(stage.settings)
    renamed = [replace(example, clip=replace(example.clip, caption="a blue car")) for example in given]
    assert stage.loss(stage.model, given)["total"] == stage.loss(stage.model, renamed)["total"]
    stage = make("base", replace(SIZES["base"], text_dropout=0.0))
    assert stage.loss(stage.model, given)["video"] != stage.loss(stage.model, renamed)["video"]


@torch.no_grad()
def test_encoded_clips_give_the_loss_of_their_pixels(make):
    stage = make("base")
    given = examples(stage.settings)

    def encoded(clip: Clip) -> Clip:
        tensors = stage.encode(clip, torch.Generator())
        text = stage.parts.embed(((clip.caption,),))[0, 0]
        return replace(clip, tensors={**tensors, "text": text})

    stored = [
        replace(example, clip=encoded(example.clip), images=tuple(map(encoded, example.images))) for example in given
    ]
    assert "video" not in stored[0].clip.tensors
    torch.testing.assert_close(
        stage.loss(stage.model, stored)["total"], stage.loss(stage.model, given)["total"], rtol=1e-5, atol=1e-6
    )


# -- what the networks are given ---------------------------------------------------------------------------------------


def test_interpolation_sees_the_nearest_key_frame():
    frames = torch.arange(9.0).view(1, 9, 1, 1)
    assert between(frames).flatten().tolist() == [0, 0, 0, 4, 4, 4, 4, 8, 8]
    with pytest.raises(UsageError, match="4n \\+ 1"):
        check_frames((13, 16))


def test_the_upscaler_sees_a_quarter_of_the_size_and_how_noisy_it_is(make):
    stage = make("upscaler", replace(SIZES["upscaler"], max_noise_level=7))
    clip = examples(stage.settings)[0].clip
    encoded = stage.encode(clip, torch.Generator().manual_seed(0))
    assert encoded["low_resolution"].shape == (3, 3, 8, 16)
    assert encoded["latents"].shape == (4, 3, 8, 16)
    draws = [stage.conditioned(encoded, torch.Generator().manual_seed(seed)) for seed in range(40)]
    assert {level for _, level in draws} == set(range(8))
    clean = next(pixels for pixels, level in draws if level == 0)
    noisy = next(pixels for pixels, level in draws if level == 7)
    assert (clean - encoded["low_resolution"]).std() < (noisy - encoded["low_resolution"]).std()


@pytest.mark.parametrize("mode", ["area", "bicubic"])
def test_a_reduced_clip_keeps_its_colours(mode):
    video = torch.linspace(-1, 1, 24).expand(3, 2, 16, 24)
    small = reduced(video, mode)
    assert small.shape == (3, 2, 4, 6)
    torch.testing.assert_close(small.mean(), video.mean(), atol=1e-3, rtol=0)


def test_masks_are_of_every_kind_and_never_all_or_nothing():
    masks = [random_mask(8, torch.Generator().manual_seed(seed)) for seed in range(200)]
    assert all(mask.any() and not mask.all() for mask in masks)
    first_only, last_only = (torch.arange(8) != place for place in (0, 7))
    both_ends = [mask for mask in masks if not mask[0] and not mask[-1] and mask[3:5].all()]
    assert any(torch.equal(mask, first_only) for mask in masks)
    assert any(torch.equal(mask, last_only) for mask in masks)
    assert both_ends
    assert all(random_mask(2, torch.Generator().manual_seed(seed)).sum() == 1 for seed in range(20))


def test_the_extension_sees_its_first_frame_or_what_a_mask_leaves(make):
    latents = torch.randn(4, FRAMES, 2, 3, generator=torch.Generator().manual_seed(0))
    shown, _ = make("extension").conditioned({"latents": latents}, torch.Generator())
    assert torch.equal(shown, latents[:, :1].expand_as(latents))
    shown, _ = make("extension", MASKED).conditioned({"latents": latents}, torch.Generator().manual_seed(1))
    missing = shown[0, :, 0, 0] > 0
    assert torch.equal(shown[1:, ~missing], latents[:, ~missing])
    assert shown[1:, missing].std(dim=1).max() == 0  # one grey frame, whatever is missing


# -- what comes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "settings"), [*SIZES.items(), ("extension", MASKED)])
def test_samples_are_clips_of_the_size_that_is_learnt(make, name, settings):
    stage = make(name, settings)
    stage.sample_clips = (examples(settings)[0].clip,)
    (clip,) = stage.samples(stage.model).values()
    assert clip.dtype == np.uint8
    assert clip.shape == (settings.frames[0], settings.height, settings.width, 3)


def test_what_is_saved_is_a_family_that_makes_videos(make, tmp_path):
    target = make_family(tmp_path / "family", ("upscaler",))
    for name in ("base", "extension"):
        stage = make(name)
        stage.save(stage.model, target)
    clip = TextToVideoPipeline.from_pretrained(target, device="cpu")("a red ball")
    assert clip.frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
    longer = ExtensionPipeline.from_pretrained(target, device="cpu")("a red ball", clip.frames)
    assert len(longer.frames) == 2 * FRAMES - 1


def test_interpolation_that_predicts_clean_latents_starts_with_the_sign_of_velocities_turned(tmp_path):
    folder = make_family(tmp_path / "family")
    settings = json.loads((folder / "family.json").read_text())
    settings["base"]["prediction_type"], settings["interpolation"]["prediction_type"] = "v_prediction", "sample"
    (folder / "family.json").write_text(json.dumps(settings))
    family = open_family(folder, "interpolation", None)
    base = load_unet(family.path(family.base.unet), stage="base", dtype=torch.float32).state_dict()
    interpolation = load_start(family, "interpolation", None, "first-frame", 0).unet.state_dict()
    for name in ("conv_out.weight", "conv_out.bias"):
        assert base[name].abs().max() > 0
        torch.testing.assert_close(interpolation[name], -base[name])
    assert torch.equal(interpolation["conv_norm_out.weight"], base["conv_norm_out.weight"])
