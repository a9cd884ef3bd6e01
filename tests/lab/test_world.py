"""The painted world: what a scene is, and that the same scene looks the same however it is rendered."""

import pytest
import torch
import torch.nn.functional as F

from lab.world.captions import CAMERAS as CAMERA_PHRASES
from lab.world.captions import MOTIONS as MOTION_PHRASES
from lab.world.captions import caption, vocabulary
from lab.world.grammar import (
    CAMERAS,
    COLOURS,
    MOTIONS,
    PLACES,
    STILL_COLOURS,
    STILL_PLACES,
    WEATHERS,
    is_held_out,
    makes_sense,
    scene_of,
)
from lab.world.guests import KINDS
from lab.world.palette import TIMES
from lab.world.render import frame_seconds, render
from lab.world.view import MOVES, SECONDS

SEED = 3


def scenes(count, **options):
    return [scene_of(SEED, number, **options) for number in range(count)]


def test_a_scene_depends_on_its_seed_and_number_alone():
    first = [scene_of(SEED, number) for number in (5, 2)]
    assert first == [scene_of(SEED, number) for number in (5, 2)]
    assert scene_of(SEED, 5) != scene_of(SEED + 1, 5)


def test_clips_show_every_word_of_the_grammar():
    seen = scenes(1500)
    guests = [scene.guest for scene in seen if scene.guest is not None]
    assert {scene.place for scene in seen} == set(PLACES)
    assert {scene.time for scene in seen} == set(TIMES)
    assert {scene.weather for scene in seen} == set(WEATHERS)
    assert {scene.camera for scene in seen} == set(CAMERAS)
    assert {guest.kind for guest in guests} == set(KINDS)
    assert {guest.colour for guest in guests} == set(COLOURS)
    assert {guest.motion for guest in guests} == set(MOTIONS)
    assert 0.45 < len(guests) / len(seen) < 0.65


def test_two_colours_and_one_place_are_in_pictures_only():
    clips, pictures = scenes(600), scenes(600, still=True)
    colours = {scene.guest.colour for scene in pictures if scene.guest is not None}
    assert set(STILL_COLOURS) <= colours
    assert set(STILL_PLACES) <= {scene.place for scene in pictures}
    assert not {scene.guest.colour for scene in clips if scene.guest is not None} & set(STILL_COLOURS)
    assert not {scene.place for scene in clips} & set(STILL_PLACES)


def test_training_and_evaluation_share_no_combination():
    assert not any(is_held_out(scene) for scene in scenes(200))
    assert all(is_held_out(scene) and makes_sense(scene) for scene in scenes(200, held_out=True))


def test_what_is_asked_for_is_in_the_scene():
    scene = scene_of(SEED, 1, kind="sailboat", colour="red", motion="moving left")
    assert (scene.guest.kind, scene.guest.colour, scene.guest.motion) == ("sailboat", "red", "moving left")
    assert scene.place in ("sea", "lake")
    assert scene_of(SEED, 1, kind=None).guest is None
    with pytest.raises(ValueError, match="No training scene"):
        scene_of(SEED, 1, place="dunes", weather="snow")


def test_a_guest_stays_inside_the_picture():
    for number in range(60):
        scene = scene_of(SEED, number, kind=KINDS[number % len(KINDS)])
        mask = render(scene, frame_seconds(4)).mask[0]
        assert mask.amax((1, 2)).min() > 0.9
        assert torch.cat((mask[:, 0], mask[:, -1])).max() < 0.05, scene
        assert torch.cat((mask[:, :, 0], mask[:, :, -1])).max() < 0.05, scene


def test_a_guest_moves_less_than_half_a_latent_pixel_from_frame_to_frame():
    for scene in scenes(200):
        if scene.guest is not None:
            step = max(abs(b - a) for a, b in zip(scene.guest.start, scene.guest.end, strict=True)) * 64 / 15
            assert step < 4


def test_a_clip_at_four_times_the_rate_holds_the_same_frames():
    for number in range(6):
        scene = scene_of(SEED, number)
        fine, coarse = render(scene, frame_seconds(61)), render(scene, frame_seconds(16))
        assert torch.allclose(fine.video[:, ::4], coarse.video, atol=1e-4)


def test_frames_do_not_depend_on_what_is_rendered_beside_them():
    scene = scene_of(SEED, 4)
    whole = render(scene, frame_seconds(16))
    one = render(scene, frame_seconds(16)[7:8])
    assert torch.allclose(one.video, whole.video[:, 7:8], atol=1e-4)


@pytest.mark.parametrize("number", range(4))
def test_a_larger_picture_shows_the_same_scene(number):
    scene, moment = scene_of(SEED, number), torch.tensor([0.7])
    small, large = render(scene, moment, 64, 96), render(scene, moment, 256, 384)
    reduced = F.avg_pool2d(large.video[:, 0], 4)
    assert (reduced - small.video[:, 0]).abs().mean() < 0.06


def test_everything_has_its_shape_and_range():
    film = render(scene_of(SEED, 2), frame_seconds(5), 32, 48)
    assert film.video.shape == (3, 5, 32, 48)
    assert film.video.abs().max() <= 1
    for each in (film.mask, film.nearness, film.edges):
        assert each.shape == (1, 5, 32, 48)
        assert each.min() >= 0
        assert each.max() <= 1


def test_the_sky_is_farthest_and_the_guest_nearest():
    film = render(scene_of(SEED, 2, kind="balloon", place="dunes", weather="clear", time="noon"), frame_seconds(3))
    inside = film.mask > 0.9
    assert film.nearness[..., 0, :][film.mask[..., 0, :] == 0].max() == 0
    assert film.nearness[inside].min() > film.nearness[~(film.mask > 0)].max()


@pytest.mark.parametrize("camera", ["pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out"])
def test_the_camera_does_what_the_view_says(camera):
    film = render(scene_of(SEED, 6, camera=camera, kind=None), frame_seconds(16))
    pan, tilt, first, last = MOVES[camera]
    view = film.view
    assert view.t[-1].item() == pytest.approx(SECONDS)
    assert (view.pan[-1] - view.pan[0]).item() == pytest.approx(pan)
    assert (view.tilt[-1] - view.tilt[0]).item() == pytest.approx(tilt)
    assert view.zoom[[0, -1]].flatten().tolist() == pytest.approx([first, last])


def test_the_canonical_caption_says_everything():
    scene = scene_of(SEED, 0, kind="balloon", colour="red", motion="moving left", place="sea", time="night")
    text = caption(scene)
    assert text.startswith("a red balloon moving left over the sea at night")
    assert "moving" not in caption(scene, still=True)


def test_captions_of_pictures_hold_no_word_of_motion():
    phrases = {phrase for table in (MOTION_PHRASES, CAMERA_PHRASES) for options in table.values() for phrase in options}
    for number, scene in enumerate(scenes(200, still=True)):
        text = caption(scene, torch.Generator().manual_seed(number), still=True)
        assert not any(phrase in text for phrase in phrases), text


def test_the_vocabulary_holds_every_word_of_every_caption():
    known, generator = set(vocabulary()), torch.Generator().manual_seed(0)
    for number in range(400):
        text = caption(scene_of(SEED, number, still=number % 2 == 0), generator, still=number % 3 == 0)
        assert set(text.replace(",", "").split()) <= known, text
