"""A hand-held clip of an image: every frame a window of it, on a smooth way that stays inside."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lab.training.data import World
from lavie.training.data import ClipRequest, Handheld, ImageFolder, UnreadableClip
from lavie.training.data.handheld import crops, walk

room = st.tuples(st.integers(0, 40), st.integers(0, 40))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 40), room, st.integers(0, 99), st.floats(0.1, 5))
@settings(deadline=None)
def test_the_window_never_leaves_the_image(frames, room, seed, speed):
    path = walk(frames, room, generator(seed), speed)
    assert path.shape == (frames, 2)
    assert (path >= 0).all()
    assert (path <= torch.tensor(room)).all()
    image = torch.rand(3, 8 + room[0], 9 + room[1], generator=generator(seed))
    clip = crops(image, path, 8, 9)
    assert clip.shape == (3, frames, 8, 9)
    assert clip.min() >= image.min() - 1e-6
    assert clip.max() <= image.max() + 1e-6


def test_the_hand_moves_smoothly():
    paths = [walk(60, (4000, 4000), generator(seed), speed=1.5) for seed in range(40)]
    velocity, change = (torch.cat([path.diff(n=n, dim=0) for path in paths]) for n in (1, 2))
    assert change.std() < 0.4 * velocity.std()
    assert velocity.abs().max() < 1.5 * 6
    assert change.abs().max() < 1.5 * 2


def test_the_walk_has_the_speed_that_was_asked():
    velocity = torch.cat([walk(200, (9000, 9000), generator(seed), speed=2.0).diff(dim=0) for seed in range(40)])
    assert velocity.std() == pytest.approx(2.0, rel=0.15)


def test_whole_positions_are_exact_crops_and_others_lie_between():
    image = torch.rand(3, 12, 14, generator=generator())
    clip = crops(image, torch.tensor([[0.0, 0.0], [4.0, 5.0], [2.0, 3.25], [1.5, 2.5]]), 8, 9)
    assert torch.equal(clip[:, 0], image[:, :8, :9])
    assert torch.equal(clip[:, 1], image[:, 4:, 5:])
    assert torch.allclose(clip[:, 2], 0.75 * image[:, 2:10, 3:12] + 0.25 * image[:, 2:10, 4:13], atol=1e-6)
    corners = [image[:, y : y + 8, x : x + 9] for y in (1, 2) for x in (2, 3)]
    assert torch.allclose(clip[:, 3], sum(corners) / 4, atol=1e-6)


def test_a_ramp_tells_how_far_every_frame_has_moved():
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    path = walk(24, (10, 12), generator(3))
    clip = crops(torch.stack([rows, columns]), path, 30, 38)
    assert torch.allclose(clip[:, :, 0, 0].T, path, atol=1e-4)
    assert torch.allclose(clip - clip[:, :, :1, :1], clip[:, :1] - clip[:, :1, :1, :1], atol=1e-4)


def test_images_become_clips_with_their_captions(tmp_path):
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a soft round light")
    source = Handheld(ImageFolder(tmp_path))
    request = ClipRequest(8, 100, 120, fps=8, crop="patch")
    clip = source.read(0, request, generator(1))
    assert clip.caption == "a soft round light"
    assert clip.tensors["video"].shape == (3, 8, 100, 120)
    assert (clip.tensors["video"][:, 1:] - clip.tensors["video"][:, :-1]).abs().amax((0, 2, 3)).gt(0).all()
    assert torch.equal(clip.tensors["video"], source.read(0, request, generator(1)).tensors["video"])
    with pytest.raises(UnreadableClip, match="too few for patches"):
        source.read(0, ClipRequest(8, 240, 240, crop="patch"), generator())


def test_masks_move_with_their_images():
    clip = Handheld(World(4, stills=True)).read(1, ClipRequest(6, 32, 48), generator(5))
    assert clip.tensors["mask"].shape == (1, 6, 32, 48)
    assert clip.tensors["mask"].amax() > 0.9
