"""What a LoRA's prior clips teach: the base's own answers, which a LoRA that changes nothing gives already."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.training_family import HEIGHT, WIDTH, make_family

from lavie.config import find_family
from lavie.errors import UsageError
from lavie.training.data import Clip, ClipRequest
from lavie.training.data.dataset import Example
from lavie.training.data.randomness import generator_of
from lavie.training.freezing import without_adapters
from lavie.training.lora.adapters import add_adapters
from lavie.training.lora.data import LAYOUT_MIN_TIMESTEP, OWN_TEXT_DROPOUT, OwnClips
from lavie.training.lora.job import LoraJob
from lavie.training.lora.settings import LoraSettings
from lavie.training.lora.train import lora_stage
from lavie.training.settings import LoopSettings

BALL, STAR = "a red ball moving left", "a blue star over snow"
PRIOR = {"trigger": "zorb", "prior_prompts": (BALL, STAR), "prior_images": 2, "targets": "all", "rank": 2}
JOINT = {"prior_frames": 3, "images_per_clip": 2}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return find_family(str(make_family(tmp_path_factory.mktemp("family") / "family")))


def stage_of(family, **changes):
    settings = LoraSettings(**{**PRIOR, **JOINT, **changes})
    loop, nowhere = LoopSettings(steps=1), Path("nowhere")
    job = LoraJob(family, (HEIGHT, WIDTH), settings, loop, nowhere, nowhere, torch.device("cpu"))
    stage = lora_stage(job)
    add_adapters(stage.model.unet, stage.parts.text_encoder.model, settings, seed=0)
    stage.model.train()
    return stage


def disturb(stage):
    """The LoRA changes everything."""
    generator = torch.Generator().manual_seed(1)
    for parameter in stage.model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)


def example(number, frames=3, images=2, **clip):
    def latents(count):
        generator = generator_of(number, count)
        return {"latents": torch.randn(4, count, HEIGHT // 8, WIDTH // 8, generator=generator)}

    images = tuple(Clip("a zorb", "image", latents(1)) for _ in range(images))
    return Example(number, Clip(**{"caption": BALL, "name": "clip", "tensors": latents(frames), **clip}), images, (), 0)


@pytest.mark.parametrize("train_text", [False, True])
def test_while_the_lora_changes_nothing_its_prior_clips_teach_nothing(family, train_text):
    stage = stage_of(family, train_text=train_text)
    examples = [example(number, teacher_caption=BALL) for number in range(2)]
    terms = stage.loss(stage.model, examples)
    assert terms["video"] == 0
    assert terms["image"] > 0
    disturb(stage)
    assert stage.loss(stage.model, examples)["video"] > 0


def test_images_alone_are_taught_by_the_base_too(family):
    stage = stage_of(family, prior_frames=1)
    own, prior = example(0, frames=1, images=0), example(1, frames=1, images=0, teacher_caption=BALL)
    assert stage.loss(stage.model, [prior])["image"] == 0
    assert stage.loss(stage.model, [own])["image"] > 0


def test_a_caption_learns_what_the_base_makes_of_its_teachers(family):
    """Under another caption the base answers otherwise, so there is something to learn from the start."""
    stage = stage_of(family)
    assert stage.loss(stage.model, [example(0, caption="a zorb moving left", teacher_caption=BALL)])["video"] > 0


def test_a_clip_without_a_teacher_is_learnt_from_its_noise_beside_one_that_has_one(family):
    stage = stage_of(family)
    disturb(stage)
    taught, plain = example(0, teacher_caption=BALL), example(1)
    each = [stage.loss(stage.model, [one])["video"].item() for one in (taught, plain)]
    together = stage.loss(stage.model, [taught, plain])["video"].item()
    assert together == pytest.approx(sum(each) / 2, rel=1e-4)


def test_a_dropped_caption_drops_its_teachers(family):
    stage = stage_of(family, text_dropout=0.999999)
    assert stage.loss(stage.model, [example(0, teacher_caption=BALL)])["video"] == 0


def test_without_adapters_is_the_base_and_afterwards_they_learn_again(family):
    stage = stage_of(family)
    unet = stage.model.unet
    sample, text = torch.randn(1, 4, 3, 4, 6), torch.randn(1, 77, unet.config.cross_attention_dim)

    @torch.no_grad()
    def answer():
        return unet(sample, torch.tensor([400]), text)

    before, learning = answer(), [p.requires_grad for p in unet.parameters()]
    disturb(stage)
    changed = answer()
    assert not torch.allclose(changed, before)
    with without_adapters(stage.model):
        assert torch.equal(answer(), before)
    assert torch.equal(answer(), changed)
    with pytest.raises(KeyboardInterrupt), without_adapters(stage.model):
        raise KeyboardInterrupt
    assert torch.equal(answer(), changed)
    assert [p.requires_grad for p in unet.parameters()] == learning


def read(count=1000, **changes):
    """What is read of the first of two clips, again and again."""
    settings = LoraSettings(**{**PRIOR, **changes})
    source = OwnClips([BALL, STAR], [torch.zeros(4, 3, 4, 6)] * 2, settings)
    request = ClipRequest(3, HEIGHT, WIDTH)
    return [source.read(0, request, generator_of(index)) for index in range(count)]


def share(clips, caption):
    return sum(clip.caption == caption for clip in clips) / len(clips)


def test_the_bases_own_clips_keep_their_captions_and_now_and_then_have_none():
    clips = read(prior_prompts=(BALL,))
    assert all((clip.caption, clip.min_timestep) == (clip.teacher_caption, 0) for clip in clips)
    assert {clip.caption for clip in clips} == {BALL, ""}
    assert share(clips, "") == pytest.approx(OWN_TEXT_DROPOUT, abs=0.03)


def test_at_high_noise_they_have_the_captions_of_all_prior_prompts_too():
    alone = "a fish growing over the sea"  # no clip is made of it
    clips = read(prior_prompts=(BALL, STAR, alone))
    assert all(clip.caption == clip.teacher_caption for clip in clips)
    assert share(clips, STAR) == pytest.approx(0.9 * 0.5 / 3, abs=0.04)
    assert share(clips, alone) == pytest.approx(0.9 * 0.5 / 3, abs=0.04)
    own = [clip for clip in clips if clip.caption in (BALL, "")]
    assert {clip.min_timestep for clip in own} == {0}
    assert {clip.min_timestep for clip in clips if clip not in own} == {LAYOUT_MIN_TIMESTEP}


def test_the_class_lends_its_place_and_motion_to_the_trigger_at_high_noise():
    clips = read(class_word="red ball")
    lent = [clip for clip in clips if "zorb" in clip.caption]
    assert len(lent) / len(clips) == pytest.approx(0.9 * 0.75 * 0.5, abs=0.05)
    assert {(clip.caption, clip.teacher_caption) for clip in lent} == {("a zorb moving left", BALL)}
    assert {clip.min_timestep for clip in lent} == {LAYOUT_MIN_TIMESTEP}
    assert {clip.min_timestep for clip in clips if clip.caption == BALL} == {0}


@pytest.mark.parametrize(
    ("caption", "lent"),
    [
        ("a cat and a Cat, a cathedral", "a zorb and a zorb, a cathedral"),
        ("cats", None),
        ("Cat", "zorb"),
        ("a bobcat", None),
    ],
)
def test_the_class_word_is_a_word_of_its_own(caption, lent):
    settings = LoraSettings(trigger="zorb", class_word="cat", prior_prompts=("a cat",), prior_images=1)
    assert settings.in_place_of_class(caption) == lent


def test_noise_levels_keep_within_what_each_clip_and_image_asks_for(family):
    stage, asked = stage_of(family), [(500, 700), (0, 600), (0, 1000)]
    clips = [SimpleNamespace(min_timestep=least, max_timestep=most) for least, most in asked]
    levels = torch.stack([stage._timesteps(clips, 5, generator_of(index)) for index in range(300)])
    for (least, most), own in zip(asked, levels.T, strict=True):
        assert least <= own.min() < least + 10
        assert most - 10 < own.max() < most


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_word": "cat"}, "'cat' stands in no prior prompt"),
        ({"class_word": "cat", "prior_prompts": ("a cathedral",)}, "'cat' stands in no prior prompt"),
        ({"class_word": "ball", "prior_prompts": (), "prior_images": 0}, "no prior prompt"),
        ({"class_word": "ball", "prior_images": 0}, "how many images"),
        ({"class_word": "red ball", "trigger": ""}, "name that, too"),
    ],
)
def test_class_words_that_cannot_work_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        LoraSettings(**{**PRIOR, **changes})
