"""How the world is learnt: sources, words, and what autoencoders are asked for."""

from pathlib import Path

import pytest
import torch

from lab.tokenizer import build_tokenizer
from lab.training.autoencoder import loss_terms
from lab.training.data import World, shows_motion
from lab.training.denoiser import arguments
from lab.training.motion_words import OPPOSITES, motion_vectors
from lab.training.words import inherited
from lab.world.captions import MOTIONS, vocabulary
from lavie.training.data import ClipRequest, Filters, open_source
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


@pytest.mark.parametrize(
    ("spec", "pictures"), [("world:9:3", False), ("world-courses", False), ("world-stills:5", True)]
)
def test_the_lab_makes_the_world_a_source_of_training(spec, pictures):
    source = open_source(spec, Filters(), pictures)
    assert source.name == spec
    assert source.read(1, ClipRequest(1, 32, 48), generator_of("test", 1)).tensors["video"].shape == (3, 1, 32, 48)


def test_what_is_said_to_the_denoiser_is_what_lavie_train_understands():
    said = "base family run latents --stills 8 --clips 4 -- --steps 3 --batch 2 --frames 8 16 --sprite-weight 5"
    ours, settings = arguments(said.split())
    assert (ours.stills, ours.clips) == (8, 4)
    assert (settings.start.family, settings.run.run_folder) == (Path("family"), Path("run"))
    assert (settings.loop.steps, settings.frames, settings.objective.mask_weight) == (3, (8, 16), 5)
    assert settings.images_per_clip > 0
