"""The judge reads the colours that only pictures teach, and clips of a moving camera."""

from dataclasses import replace

import torch

from lab.sprites import CAMERAS, STILL_COLOURS, frame_times, render_backgrounds
from lab.sprites.held_out import held_out_scenes, rendered, rendered_clips, rendered_with_sprite
from lab.sprites.judge import look
from lab.sprites.score import score
from lab.sprites.suites.retention import scenes_of

CLIPS = 36


def rendered_shares(scenes):
    return score(scenes, rendered_clips(scenes, 8, 64, 96)).shares


def test_the_colours_of_pictures_are_read_right():
    shares = rendered_shares(scenes_of(STILL_COLOURS, CLIPS, seed=3))
    assert min(shares["colour"], shares["background"], shares["shape"]) >= 0.97
    assert shares["direction"] == 1


def test_clips_of_a_moving_camera_are_read_right():
    moves = [camera for camera in CAMERAS if camera != "still"]
    scenes = [replace(scene, camera=moves[i % 3]) for i, scene in enumerate(held_out_scenes(CLIPS, seed=7))]
    shares = rendered_shares(scenes)
    assert min(shares["colour"], shares["background"], shares["direction"]) >= 0.97
    assert min(shares["shape"], shares["motion"]) >= 0.95
    assert shares["steady"] >= 0.9


def test_the_sprite_is_found_where_the_renderer_put_it():
    scene = next(scene for scene in held_out_scenes(40, seed=2) if scene.motion == "moving left")
    times = frame_times(8)
    sprite = look(rendered(scene, times, 64, 96))[1]
    expected = 96 * (scene.start[0] + (scene.end[0] - scene.start[0]) * times)
    assert (sprite.path.x - expected).abs().max() < 3
    assert (sprite.mean_colour().mean(0) - sprite.mean_colour()[0]).abs().max() < 0.02


def test_the_mean_colour_of_a_sprite_is_that_of_its_pixels():
    """Compared with the picture where the renderer painted it; of an outline the judge may miss a part."""
    for scene in scenes_of(("red", "white", "turquoise"), 3, seed=1):
        frames, coverage = rendered_with_sprite(scene, frame_times(4), 64, 96)
        true = frames[coverage > 0.5].mean(0) / 255
        sprite = look(frames)[1]
        assert sprite.colour == scene.colour
        assert (sprite.mean_colour().mean(0) - torch.tensor(true)).abs().max() < 0.1


def test_a_picture_without_a_sprite_has_none():
    picture = render_backgrounds(held_out_scenes(1, seed=5), 64, 96)[0].permute(1, 2, 0)
    assert look((picture * 255).byte().expand(4, -1, -1, -1))[1] is None
