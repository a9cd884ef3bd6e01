"""The synthetic clips show what their captions say, at any size, and keep the held-out combinations apart."""

import pytest
import torch
import torch.nn.functional as F

from lab import sprites
from lab.sprites.captions import MOTION_PHRASES
from lab.sprites.scene import HELD_OUT_SHAPE_MOTIONS, UNREADABLE
from lavie.errors import UsageError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(motion: str, seed: int = 0, frames: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    scenes = [sprites.sample_scene(generator(seed + i), motion=motion) for i in range(3)]
    return sprites.render(scenes, sprites.frame_times(frames), 64, 96)


def centre(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y in pixels, each [scenes, frames]."""
    area = mask.sum((1, 3, 4))
    x = (mask.sum((1, 3)) * torch.arange(mask.shape[-1])).sum(-1) / area
    y = (mask.sum((1, 4)) * torch.arange(mask.shape[-2])).sum(-1) / area
    return x, y


@pytest.mark.parametrize(
    ("motion", "axis", "sign"),
    [("moving left", 0, -1), ("moving right", 0, 1), ("moving up", 1, -1), ("moving down", 1, 1)],
)
def test_a_directional_motion_moves_the_sprite_its_way_in_every_frame(motion, axis, sign):
    steps = centre(draw(motion)[1])[axis].diff(dim=1)
    assert (sign * steps > 1).all()


@pytest.mark.parametrize(("motion", "sign"), [("growing", 1), ("shrinking", -1)])
def test_growing_and_shrinking_change_the_area_in_every_frame(motion, sign):
    area = draw(motion)[1].sum((1, 3, 4))
    assert (sign * area.diff(dim=1) > 0).all()


def test_a_sprite_that_stands_still_shows_the_same_image_in_every_frame():
    video, _ = draw("standing still")
    assert torch.equal(video[:, :, 0], video[:, :, -1])


def test_spinning_changes_the_image_and_keeps_the_place():
    """A silhouette's centroid may lie beside the point that it turns around, by a sixth of its radius (the heart)."""
    scenes = [sprites.sample_scene(generator(i), motion="spinning") for i in range(12)]
    video, mask = sprites.render(scenes, sprites.frame_times(6), 64, 96)
    x, y = centre(mask)
    assert ((video[:, :, 0] - video[:, :, 2]).abs().amax((1, 2, 3)) > 0.5).all()
    for i, scene in enumerate(scenes):
        distance = torch.hypot(x[i] + 0.5 - 96 * scene.start[0], y[i] + 0.5 - 64 * scene.start[1])
        assert distance.max() < 0.18 * 64 * scene.radius[0]


@pytest.mark.parametrize("held_out", [False, True])
def test_sprites_stay_inside_the_image(held_out):
    mask = sprites.batch(generator(3), 120, frames=5, held_out=held_out)["mask"]
    rim = torch.ones(64, 96)
    rim[1:-1, 1:-1] = 0
    assert (mask * rim).max() == 0


def test_every_shape_travels_far_in_every_direction_however_large_it_is():
    seeded = generator(15)
    for motion in sprites.DIRECTIONS:
        for shape in sprites.SHAPES:
            held_out = (shape, motion) in HELD_OUT_SHAPE_MOTIONS
            scene = sprites.sample_scene(seeded, held_out, shape=shape, motion=motion)
            along, least = (0, 0.38) if motion in ("moving left", "moving right") else (1, 0.31)
            assert abs(scene.end[along] - scene.start[along]) >= least
            assert 0.235 <= scene.radius[0] <= 0.28


def test_a_step_is_less_than_a_latent_cell():
    scenes = [sprites.sample_scene(generator(i), motion=m) for i, m in enumerate(sprites.DIRECTIONS)]
    x, y = centre(sprites.render(scenes, sprites.frame_times(16), 64, 96)[1])
    assert torch.hypot(x.diff(dim=1), y.diff(dim=1)).max() < 4


def test_the_same_scene_at_four_times_the_size_averages_to_the_small_one():
    scenes = [sprites.sample_scene(generator(i), background=b) for i, b in enumerate(sprites.BACKGROUNDS)]
    small, small_mask = sprites.render(scenes, torch.tensor([0.4]), 64, 96)
    large, large_mask = sprites.render(scenes, torch.tensor([0.4]), 256, 384)
    error = F.interpolate(large[:, :, 0], (64, 96), mode="area") - small[:, :, 0]
    assert error.abs().mean() < 0.015
    assert (F.interpolate(large_mask[:, :, 0], (64, 96), mode="area") - small_mask[:, :, 0]).abs().mean() < 0.005


def test_frames_between_key_frames_lie_on_the_same_path():
    scene = sprites.sample_scene(generator(4), motion="moving right")
    keys, _ = sprites.render([scene], sprites.frame_times(16), 32, 48)
    all_frames, _ = sprites.render([scene], sprites.frame_times(61), 32, 48)
    torch.testing.assert_close(all_frames[:, :, ::4], keys, atol=1e-3, rtol=0)


def test_the_seed_alone_decides_a_batch():
    first, again = (sprites.batch(generator(7), 4, frames=2, height=32, width=48) for _ in range(2))
    other = sprites.batch(generator(8), 4, frames=2, height=32, width=48)
    assert first["captions"] == again["captions"]
    assert torch.equal(first["video"], again["video"])
    assert not torch.equal(first["video"], other["video"])


def test_values_stay_in_range():
    clips = sprites.batch(generator(9), 8, frames=2)
    assert -1 <= clips["video"].min() < clips["video"].max() <= 1
    assert 0 <= clips["mask"].min() < clips["mask"].max() <= 1


def test_training_never_draws_a_held_out_or_unreadable_combination():
    draws = [sprites.sample_scene(seeded) for seeded in [generator(11)] for _ in range(800)]
    assert not any(sprites.is_held_out(scene) for scene in draws)
    assert not any((scene.colour, scene.background) in UNREADABLE for scene in draws)


def test_held_out_scenes_are_a_seventh_of_the_triples_and_all_held_out():
    draws = [sprites.sample_scene(seeded, held_out=True) for seeded in [generator(12)] for _ in range(100)]
    assert all(sprites.is_held_out(scene) for scene in draws)
    triples = [
        sprites.is_held_out(sprites.Scene(c, s, "spinning", b, (0, 0), (0, 0), (0, 0)))
        for c in sprites.COLOURS
        for s in sprites.SHAPES
        for b in sprites.BACKGROUNDS
    ]
    assert sum(triples) / len(triples) == pytest.approx(1 / 7)


def test_a_combination_that_cannot_be_drawn_is_refused():
    with pytest.raises(UsageError, match="green grass"):
        sprites.sample_scene(generator(), colour="green", background="green grass")


def test_the_canonical_caption_names_everything():
    scene = sprites.sample_scene(
        generator(), colour="red", shape="ball", motion="moving left", background="green grass"
    )
    assert sprites.caption(scene) == "a red ball moving left over green grass"
    assert sprites.caption(scene, still=True) == "a red ball over green grass"


def test_captions_use_the_vocabulary_and_name_colour_and_shape():
    words = set(sprites.vocabulary())
    seeded = generator(13)
    for _ in range(400):
        scene = sprites.sample_scene(seeded)
        spoken = sprites.caption(scene, seeded).replace(",", "").split()
        assert set(spoken) <= words
        assert {scene.colour, scene.shape} <= set(spoken)


def test_captions_of_still_images_hold_no_word_of_motion():
    names = (*sprites.BACKGROUNDS, *sprites.SHAPES)
    moving = {word for phrases in MOTION_PHRASES.values() for phrase in phrases for word in phrase.split()}
    moving -= {"to", "the", "that", "and", *names}
    seeded = generator(14)
    for _ in range(300):
        scene = sprites.sample_scene(seeded)
        assert not moving & set(sprites.caption(scene, seeded, still=True).split())
