"""Frames of one size brought to another: whole or cropped around the middle, without waves or moiré."""

import numpy as np
import pytest
import torch

from lavie.pipelines.resize import resized, resized_frames


@pytest.fixture
def disc():
    """A white disc of 24 pixels in the middle of a black image with a red border on its left: [2, 40, 80, 3]."""
    row, column = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(80) - 39.5, indexing="ij")
    image = ((row**2 + column**2) < 12**2).float()[..., None].repeat(1, 1, 3)
    image[:, :4, 0] = 1
    return image[None].repeat(2, 1, 1, 1)


def sides(images):
    """Height and width of what is green, which the border is not."""
    shown = images[0, :, :, 1] > 0.5
    return shown.any(1).sum().item(), shown.any(0).sum().item()


def test_crop_keeps_proportions_and_the_middle(disc):
    made = resized(disc, (20, 20), "crop")
    assert made.shape == (2, 20, 20, 3)
    assert sides(made) == (12, 12)
    assert torch.equal(made[..., 0], made[..., 1])  # the border is cut off
    torch.testing.assert_close(made, made.flip(2))


def test_stretch_keeps_the_whole_image(disc):
    made = resized(disc, (20, 20), "stretch")
    assert sides(made) == (12, 6)
    assert made[0, 10, 0, 0] > 0.9


@pytest.mark.parametrize("how", ["crop", "stretch"])
@pytest.mark.parametrize("size", [(8, 8), (64, 96), (41, 80), (33, 7)])
def test_any_size_becomes_any_other_within_the_range(disc, how, size):
    made = resized(disc, size, how)
    assert made.shape == (2, *size, 3)
    assert made.min() >= 0
    assert made.max() <= 1
    flat = resized(torch.full((1, 30, 50, 3), 0.25), size, how)
    torch.testing.assert_close(flat, torch.full_like(flat, 0.25))


def test_fine_stripes_become_grey_and_no_moire():
    stripes = (torch.arange(128) % 2).float()[None, :, None, None].expand(1, 128, 32, 3)
    inside = resized(stripes, (40, 10), "stretch")[:, 4:-4]
    torch.testing.assert_close(inside, torch.full_like(inside, 0.5), atol=0.06, rtol=0)


def test_frames_of_the_same_size_are_left_alone(disc):
    assert resized(disc, (40, 80), "crop") is disc
    frames = (255 * disc).to(torch.uint8).numpy()
    assert resized_frames(frames, (40, 80), "crop") is frames
    made = resized_frames(frames, (20, 20), "crop")
    assert made.dtype == np.uint8
    assert np.abs(made / 255 - resized(disc, (20, 20), "crop").numpy()).max() < 0.003
