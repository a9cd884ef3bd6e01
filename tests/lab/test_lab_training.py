"""How the world is learnt: sources, words, and what autoencoders are asked for."""

from pathlib import Path

import pytest
import torch
from support.networks import small_vae

from lab.tokenizer import build_tokenizer
from lab.training.autoencoder import AutoencoderStage, held_out_images, loss_terms, save
from lab.training.data import World, shows_motion
from lab.training.denoiser import CLIPS, arguments
from lab.training.latents import encoded
from lab.training.motion_words import OPPOSITES, motion_vectors
from lab.training.preview import SEED, fitted, samples
from lab.training.style_lora import ink
from lab.training.subject_lora import TRIGGER, images, prior_prompts
from lab.training.words import inherited
from lab.world.captions import MOTIONS, vocabulary
from lab.world.grammar import scene_of
from lab.world.newcomer import CLASS
from lab.world.render import render
from lab.world.view import SECONDS
from lavie.models.vae import load_vae
from lavie.training.data import ClipRequest, Filters, Mixture, TrainingData, open_source
from lavie.training.data.randomness import generator_of


def read(world, row, frames, fps=None):
    return world.read(row, ClipRequest(frames, 32, 48, fps), generator_of("test", row))


def test_the_same_row_is_the_same_clip():
    world = World(10, seed=4)
    first, again = read(world, 3, 4, 8.0), read(world, 3, 4, 8.0)
    assert first.caption == again.caption
    assert torch.equal(first.tensors["video"], again.tensors["video"])


def test_sixteen_frames_at_eight_a_second_are_a_whole_clip():
    world = World(10, seed=4)
    assert torch.allclose(read(world, 1, 16, 8.0).tensors["video"], read(world, 1, 16).tensors["video"], atol=1e-4)


def test_captions_of_pictures_name_a_motion_only_where_a_picture_shows_it():
    world = World(300, seed=4, stills=True)
    phrases = {phrase for options in MOTIONS.values() for phrase in options}
    for row in range(300):
        text = world.caption(row, generator_of("test", row))
        if any(phrase in text for phrase in phrases):
            assert shows_motion(world.scene(row))


def test_every_word_is_one_token_and_old_words_keep_their_meaning(tmp_path):
    from transformers import CLIPTokenizer

    build_tokenizer([*vocabulary(), ",", "."], tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert all(len(tokenizer(word).input_ids) == 3 for word in vocabulary())
    assert inherited(tokenizer).get_input_embeddings().weight.shape[0] == len(tokenizer)


def test_opposite_motions_get_opposite_vectors():
    vectors = motion_vectors(torch.randn(500, 128, generator=torch.Generator().manual_seed(0)))
    for first, second in OPPOSITES:
        assert torch.equal(vectors[first], -vectors[second])


def test_an_error_inside_a_guest_counts_more():
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8] = 1
    inside, outside = torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)
    inside[..., 2:6, 2:6], outside[..., 2:6, 10:14] = 0.5, 0.5
    latents = torch.zeros(1, 4, 2, 2)
    assert loss_terms(inside, mask, latents)["total"] > loss_terms(outside, mask, latents)["total"]


@pytest.mark.parametrize(("spec", "images"), [("world:9:3", False), ("world-courses", False), ("world-stills:5", True)])
def test_the_lab_makes_the_world_a_source_of_training(spec, images):
    source = open_source(spec, Filters(), images)
    assert source.name == spec
    assert source.read(1, ClipRequest(1, 32, 48), generator_of("test", 1)).tensors["video"].shape == (3, 1, 32, 48)


def test_what_is_said_to_the_denoiser_is_what_lavie_train_understands():
    said = "base family run latents --stills 8 --clips 4 -- --steps 3 --batch 2 --frames 8 16 --sprite-weight 5"
    ours, settings = arguments(said.split())
    assert (ours.stills, ours.clips) == (8, 4)
    assert (settings.start.family, settings.run.run_folder) == (Path("family"), Path("run"))
    assert (settings.loop.steps, settings.frames, settings.objective.mask_weight) == (3, (8, 16), 5)
    assert settings.images_per_clip > 0


def test_every_stage_learns_from_clips_of_its_own():
    said = "{} family run latents --clips 4 -- --steps 3 --frames {}"
    for stage, frames in (("interpolation", "13 61"), ("extension", "16"), ("upscaler", "4 8")):
        ours, settings = arguments(said.format(stage, frames).split())
        assert (ours.stage, settings.stage) == (stage, stage)
        filmed = CLIPS[stage]
        assert max(settings.frames) <= filmed.frames
        assert (filmed.frames - 1) / filmed.rate <= SECONDS


def test_ink_leaves_the_colour_to_the_guest():
    film = render(scene_of(3, 5, kind="kite", colour="red", place="sea"), torch.tensor([0.5]), 64, 96)
    drawn = ink(film.video, film.mask)
    spread = (drawn.amax(0) - drawn.amin(0)) / 2
    inside = film.mask[0] > 0.9
    assert drawn.abs().max() <= 1
    assert spread[film.mask[0] == 0].max() < 0.2 < 0.4 < spread[inside].mean()


def test_the_preview_of_a_family_is_fitted_to_the_mean_colours(tmp_path):
    vae = small_vae(8, 8, 8, 8).eval()
    factors, r2 = fitted(vae, 32, 48, images=24)
    assert (len(factors), {len(row) for row in factors}) == (5, {3})
    x, y = samples(vae, 32, 48, World(24, SEED, stills=True))
    error = (x @ torch.tensor(factors) - y).square().mean()
    assert error < y.var()  # better than any one colour
    assert len(r2) == 3


def test_twelve_pictures_show_the_newcomer_by_its_trigger():
    made = images()
    assert len(made) == 12
    assert all(words.startswith(f"a {TRIGGER} ") for _, words in made)
    assert {pixels.shape for pixels, _ in made} == {(64, 96, 3)}
    prompts, clips = prior_prompts()
    assert 0 < clips < len(prompts)
    assert any(CLASS in prompt for prompt in prompts[:clips])
    assert not any(TRIGGER in prompt for prompt in prompts)


def test_a_trained_autoencoder_is_written_with_latents_of_deviation_one(tmp_path):
    vae = small_vae(8, 8, 8, 8)
    worth = save(vae, tmp_path / "vae", 32, 48)
    loaded = load_vae(tmp_path / "vae", dtype=torch.float32)
    assert loaded.config["scaling_factor"] == pytest.approx(1 / worth["deviation"], rel=1e-3)
    latents = encoded(loaded, held_out_images(32, 48))
    assert float(latents.std()) == pytest.approx(1, abs=0.05)


def test_the_loss_of_an_autoencoder_is_a_mean_over_the_pictures():
    stage = AutoencoderStage(small_vae(8, 8, 8, 8), 32, 48)
    data = TrainingData(Mixture([World(8, 1, stills=True)]), ClipRequest(1, 32, 48), 4, 0)
    given = [data[number] for number in range(4)]
    with torch.no_grad():
        whole = stage.loss(stage.model, given)["edges"]
        parts = [stage.loss(stage.model, [example])["edges"] for example in given]
    assert float(whole) > 0
    assert float(whole) == pytest.approx(float(torch.stack(parts).mean()), rel=0.1)
