"""LaVie Image to Video and LaVie Transition: what is given comes back, and the library's own frames follow."""

from functools import lru_cache
from types import SimpleNamespace

import pytest
import torch
from support.graph import clip_of, decode, encode, part, refused, run, stage, wires
from support.images import alike_neighbours


def go_on(images, name="extension", **given):
    small = {"vae": stage(name).vae, "images": images, "steps": 2, "num_frames": 3, "seed": 5}
    return run("LaVieImageToVideo", **{**wires(name), **small, **given})[0]


def join(first, second, **given):
    small = {"vae": stage("base").vae, "first": first, "second": second, "steps": 2, "num_frames": 3, "seed": 5}
    return run("LaVieTransition", **{**wires("base"), **small, **given})


@pytest.mark.parametrize("name", ["base", "extension"])
def test_an_image_becomes_a_clip_that_starts_with_it(name):
    image = clip_of(1, 32, 48)
    clip = go_on(image, name)
    assert clip.shape == (4, 32, 48, 3)
    assert torch.equal(clip[:1], image)
    assert alike_neighbours(clip) > 0.5
    assert torch.equal(go_on(image, name), clip)
    assert not torch.equal(go_on(image, name, seed=6), clip)


def test_the_extension_is_the_librarys():
    image, of = clip_of(1, 32, 48), stage("extension")
    info = of.model.model.lavie
    text = part("lavie.sampling").TextCondition.of(of.positive[0][0], of.negative[0][0])
    config = info.config.replaced(num_inference_steps=2)
    job = part("lavie.job").Job.seeded(of.model.model.diffusion_model, text, config, [5], torch.device("cpu"))
    method = part("lavie.long_video").METHODS["conditioned"]
    latents = method.continued(job, encode(image) * info.scaling_factor, 20, method.settings(config.clip_frames))
    assert torch.equal(go_on(image, num_frames=20)[1:], decode(latents / info.scaling_factor))


def test_frames_of_any_size_keep_it():
    assert go_on(clip_of(2, 20, 30)).shape == (5, 20, 30, 3)
    assert join(clip_of(1, 20, 30), clip_of(1, 20, 30))[0].shape == (5, 20, 30, 3)


@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_frames_of_another_size_are_brought_to_one(resize):
    resized = part("lavie.pipelines.resize").resized
    first, second = clip_of(1, 32, 48), clip_of(2, 40, 40, seed=1)
    whole, _, _ = join(first, second, resize=resize)
    assert torch.equal(whole[-2:], resized(second, (32, 48), resize))
    clip = go_on(second, resize=resize)
    assert clip.shape == (5, 64, 96, 3)
    assert torch.equal(clip[:2], resized(second, (64, 96), resize))


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("base", {"resample": 2}),
        ("base", {"motion": 3.0}),
        ("base", {"drift_correction": 0.8}),
        ("extension", {"motion": 3.0}),
        ("extension", {"drift_correction": 0.8}),
    ],
)
def test_the_settings_of_its_siblings_change_the_new_frames_and_no_others(name, setting):
    image = clip_of(1, 32, 48)
    plain, changed = (go_on(image, name, num_frames=36, **given) for given in ({}, setting))
    assert torch.equal(plain[:1], changed[:1])
    assert not torch.equal(plain[1:], changed[1:])


def test_a_setting_that_the_extension_stage_does_not_have_is_refused():
    refused(lambda: go_on(clip_of(1, 32, 48), "extension", resample=2), "resample")


def test_an_anchor_reaches_both_kinds_of_network():
    for name in ("base", "extension"):
        assert not torch.equal(go_on(clip_of(1, 32, 48), name, anchor=0.5)[1:], go_on(clip_of(1, 32, 48), name)[1:])


def test_a_transition_stands_between_what_is_given():
    first, second = clip_of(5, 32, 48), clip_of(3, 32, 48, seed=1)
    whole, between, fps = join(first, second)
    assert torch.equal(whole, torch.cat((first, between, second)))
    assert len(between) == 3
    assert fps == 8


@lru_cache
def mask_model():
    """A MODEL of the mask form, untrained."""
    info = stage("extension").model.model.lavie
    torch.manual_seed(0)
    unet = part("lavie.models").build_unet(
        {**stage("base").model.model.diffusion_model.config.to_dict(), "in_channels": 9}
    )
    return part("nodes.host").make_model(unet.eval(), info, part("nodes.wired").refuse_unused)


def test_the_mask_form_is_shown_the_last_frames_and_both_sides():
    clip, model = clip_of(3, 32, 48), mask_model()
    changed = torch.cat((1 - clip[:1], clip[1:]))
    for context, differs in ((3, True), (2, False)):
        made = [go_on(images, model=model, context_frames=context)[3:] for images in (clip, changed)]
        assert torch.allclose(*made, atol=1e-3) is not differs
        assert made[0].shape == (3, 32, 48, 3)
    first = clip_of(2, 32, 48, seed=1)
    between = [join(first, second, model=model, context_frames=1)[1] for second in (clip, changed)]
    assert not torch.allclose(*between, atol=1e-3)
    seen = []
    options = {"transformer_options": {"patches": {"input_block_patch": [lambda h, _: seen.append(1) or h]}}}
    watched = SimpleNamespace(model=model.model, load_device=model.load_device, model_options=options)
    torch.testing.assert_close(go_on(clip, model=watched, context_frames=2), go_on(clip, model=model, context_frames=2))
    assert seen
    whole, made, _ = join(clip, clip, model=watched)  # a loop
    assert torch.equal(whole, torch.cat((clip, made, clip)))


def test_bad_input_is_answered_with_a_sentence():
    image = clip_of(1, 32, 48)
    refused(lambda: go_on(clip_of(3, 32, 48), context_frames=2), "one frame")
    refused(lambda: go_on(image, vae=stage("upscaler").vae), "VAE")
    refused(lambda: go_on(image, **wires("interpolation")), "base stage")
    refused(lambda: join(image, clip_of(1, 32, 40)), "differ in size.*resize to crop")
    refused(lambda: join(image, image, **wires("extension")), "both sides")
    for call in (go_on, lambda *given, **more: join(image, *given, **more)):
        refused(lambda call=call: call(image, num_frames=0), "number of frames.*not 0")
        refused(lambda call=call: call(image[:0]), "0 frame.*at least 1")
    refused(lambda: join(image, image, num_frames=5000), "5000 frames in one pass would take .* GB")
