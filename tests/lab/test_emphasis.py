"""What the base is shown again: motions come more often, and the trail counts."""

import pytest
import torch

from lab.training.data import World, shows_motion
from lab.training.emphasis import Emphasis, over_trail, times
from lavie.training.data import ClipRequest
from lavie.training.data.precomputed import Precomputed, write_precomputed

REQUEST = ClipRequest(1, 16, 24)


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    world, folder = World(40, 3, stills=True), tmp_path_factory.mktemp("latents")
    write_precomputed(world, REQUEST, lambda clips: [{"mask": clip.tensors["mask"]} for clip in clips], folder)
    return world, Precomputed(world, folder)


def test_images_that_show_a_motion_come_four_times_as_often(encoded):
    world, stored = encoded
    emphasis = Emphasis(stored, world)
    moving = sum(shows_motion(world.scene(row)) for row in range(40))
    assert 0 < moving < 40
    assert len(emphasis) == 40 + 3 * moving
    assert set(emphasis.rows) == set(range(40))


def test_a_row_reads_the_image_it_stands_for_with_a_wider_mask(encoded):
    world, stored = encoded
    emphasis = Emphasis(stored, world)
    row = next(r for r in range(len(emphasis)) if shows_motion(world.scene(emphasis.rows[r])))
    wide = emphasis.read(row, REQUEST, torch.Generator().manual_seed(1)).tensors["mask"]
    plain = stored.read(emphasis.rows[row], REQUEST, torch.Generator().manual_seed(1)).tensors["mask"]
    assert (wide >= plain).all()
    assert wide.sum() > 1.5 * plain.sum()


def test_the_mask_reaches_two_latents_around_the_guest():
    mask = torch.zeros(1, 1, 8, 12)
    mask[..., 4, 6] = 1
    wide = over_trail(mask)
    assert wide[0, 0, 4, 6] == 1
    assert [wide[0, 0, 4, x].item() for x in (3, 4, 8, 9)] == pytest.approx([0, 0.6, 0.6, 0])


def test_clips_of_moving_guests_come_most_often_then_those_of_a_moving_camera():
    world = World(200, 1)
    seen = {times(world.scene(row), still=False) for row in range(200)}
    assert seen == {1, 2, 3}
