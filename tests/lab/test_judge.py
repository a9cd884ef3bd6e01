"""The judge reads real rendered clips right: a figure quoted with it means something."""

import numpy as np
import pytest
import torch

from lab import sprites
from lab.sprites.judge import read
from lavie.errors import UsageError

CLIPS = 96


def frames_of(scenes, height=64, width=96, frames=8) -> list[np.ndarray]:
    video, _ = sprites.render(scenes, sprites.frame_times(frames), height, width)
    return list(((video + 1) * 127.5).round().byte().permute(0, 2, 3, 4, 1).numpy())


@pytest.fixture(scope="module")
def readings():
    generator = torch.Generator().manual_seed(2024)
    scenes = [sprites.sample_scene(generator, held_out=i % 2 == 1) for i in range(CLIPS)]
    return [(scene, read(clip)) for scene, clip in zip(scenes, frames_of(scenes), strict=True)]


@pytest.mark.parametrize(
    ("field", "at_least"), [("background", 1.0), ("colour", 0.97), ("shape", 0.95), ("motion", 0.92)]
)
def test_the_judge_reads_real_clips_right(readings, field, at_least):
    right = sum(getattr(scene, field) == getattr(reading, field) for scene, reading in readings)
    assert right / CLIPS >= at_least


def test_the_judge_never_mistakes_a_direction(readings):
    movers = [(scene, reading) for scene, reading in readings if scene.motion in sprites.DIRECTIONS]
    assert len(movers) > 20
    assert all(scene.motion == reading.direction for scene, reading in movers)


def test_real_clips_are_steady(readings):
    assert sum(reading.steady for _, reading in readings) / CLIPS >= 0.9


def test_the_judge_reads_large_clips_too():
    generator = torch.Generator().manual_seed(3)
    scenes = [sprites.sample_scene(generator) for _ in range(6)]
    for scene, clip in zip(scenes, frames_of(scenes, 256, 384, 4), strict=True):
        reading = read(clip)
        assert (reading.background, reading.colour) == (scene.background, scene.colour)


def test_an_empty_scene_has_a_background_and_no_shape():
    scenes = [sprites.sample_scene(torch.Generator().manual_seed(5), background="desert")]
    picture = sprites.render_backgrounds(scenes, 64, 96)[0].permute(1, 2, 0)
    clip = (picture * 255).byte().expand(8, -1, -1, -1)
    reading = read(clip)
    assert reading.background == "desert"
    assert reading.shape is None
    assert not reading.steady


def test_a_sprite_that_changes_colour_is_not_steady():
    generator = torch.Generator().manual_seed(6)
    red = sprites.sample_scene(generator, colour="red", motion="standing still", background="snow")
    blue = sprites.Scene(**{**red.__dict__, "colour": "blue"})
    first, second = frames_of([red, blue])
    assert read(first).steady
    assert not read(np.concatenate([first[:4], second[4:]])).steady


def test_two_sprites_are_not_steady():
    generator = torch.Generator().manual_seed(8)
    left = sprites.sample_scene(generator, colour="red", shape="ball", motion="standing still", background="snow")
    left = sprites.Scene(**{**left.__dict__, "start": (0.25, 0.5), "end": (0.25, 0.5)})
    right = sprites.Scene(**{**left.__dict__, "start": (0.75, 0.5), "end": (0.75, 0.5)})
    first, second = frames_of([left, right])
    both = np.concatenate([first[:, :, :48], second[:, :, 48:]], axis=2)
    assert read(first).steady
    assert not read(both).steady


def test_frames_that_are_not_uint8_video_are_refused():
    with pytest.raises(UsageError, match="uint8"):
        read(np.zeros((4, 64, 96, 3), dtype=np.float32))
