"""The synthetic world as a source: its own scenes by row, its own moments, and captions that fit them."""

import pickle

import pytest
import torch

from lab.sprites import STILL_COLOURS, caption, frame_times, is_held_out, render
from lab.sprites.captions import MOTION_PHRASES
from lab.sprites.source import SyntheticClips, SyntheticCourses, SyntheticStills
from lavie.errors import UsageError
from lavie.training.data import ClipRequest, UnreadableClip

WORDS_OF_MOTION = {word for phrases in MOTION_PHRASES.values() for phrase in phrases for word in phrase.split()} - {
    *("that", "to", "the", "up", "down", "left", "right", "and", "around")
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_clip_is_its_scene_with_mask_and_caption():
    source = SyntheticClips(20, seed=3)
    clip = source.read(5, ClipRequest(16, 32, 48, fps=8), generator(1))
    video, mask = render([source.scene(5)], frame_times(16), 32, 48)
    assert torch.allclose(clip.tensors["video"], video[0], atol=1e-4)
    assert torch.allclose(clip.tensors["mask"], mask[0], atol=1e-3)
    assert clip.caption == caption(source.scene(5), generator(1))
    assert "clip 5" in clip.name


def test_sixty_one_frames_at_thirty_two_a_second_are_the_whole_clip_too():
    source = SyntheticClips(4)
    whole = source.read(0, ClipRequest(61, 16, 24), generator()).tensors["video"]
    assert torch.allclose(source.read(0, ClipRequest(61, 16, 24, 32), generator()).tensors["video"], whole, atol=1e-3)
    assert torch.allclose(
        source.read(0, ClipRequest(16, 16, 24, 8), generator()).tensors["video"], whole[:, ::4], atol=1e-3
    )


def test_a_shorter_request_gets_a_random_window_and_a_longer_one_is_refused():
    source = SyntheticClips(40)
    row = next(row for row in range(40) if source.scene(row).motion.startswith("moving"))
    clips = [source.read(row, ClipRequest(4, 16, 24, 8), generator(seed)).tensors["video"] for seed in range(6)]
    assert len({clip.sum().item() for clip in clips}) == 6
    with pytest.raises(UnreadableClip, match=r"17 frames at 8 a second last longer than 1\.875 s"):
        source.read(row, ClipRequest(17, 16, 24, 8), generator())


@pytest.mark.parametrize("motion", ["moving left", "moving up", "growing", "shrinking"])
def test_a_course_is_joined_at_any_moment_and_goes_on_beyond_the_clip(motion):
    source, request = SyntheticCourses(60, camera_share=0), ClipRequest(16, 32, 48, 8)
    row = next(row for row in range(60) if source.scene(row).motion == motion)
    clips = [source.read(row, request, generator(seed)) for seed in range(8)]
    firsts = torch.stack([clip.tensors["video"][:, 0] for clip in clips])
    assert len({first.sum().item() for first in firsts}) == 8
    course, _ = render([source.scene(row)], torch.linspace(0, 1.5, 301), 32, 48)
    for clip in clips:
        distance = (course[0] - clip.tensors["video"][:, :1]).abs().mean((0, 2, 3))
        start = int(distance.argmin())
        assert distance[start] < 0.02
        end = course[0][:, min(300, start + 200)]
        assert (end - clip.tensors["video"][:, -1]).abs().mean() < 0.05


def test_rows_belong_to_the_seed_and_not_to_what_was_asked_before():
    one, other = SyntheticClips(50, seed=1), SyntheticClips(50, seed=1)
    backwards = [other.scene(row) for row in reversed(range(50))][::-1]
    assert [one.scene(row) for row in range(50)] == backwards
    assert pickle.loads(pickle.dumps(one)).scene(7) == one.scene(7)
    assert SyntheticClips(50, seed=2).scene(7) != one.scene(7)
    assert SyntheticClips(20, seed=1).scene(7) == one.scene(7)


def test_training_never_sees_held_out_scenes_and_evaluation_nothing_else():
    for held_out in (False, True):
        source = SyntheticClips(80, held_out=held_out)
        assert {is_held_out(source.scene(row)) for row in range(80)} == {held_out}


def test_some_clips_have_a_moving_camera_and_say_so():
    source = SyntheticClips(600, camera_share=0.1)
    moving = [row for row in range(600) if source.scene(row).camera != "still"]
    assert 35 < len(moving) < 90
    assert {source.scene(row).camera for row in moving} == {"panning left", "panning right", "zooming in"}
    assert all("camera" in source.caption(row, generator(row)) for row in moving)
    assert not any("camera" in source.caption(row, generator(row)) for row in {*range(600)} - {*moving})
    assert all(s.scene(row).camera == "still" for s in [SyntheticClips(90, camera_share=0)] for row in range(90))


def test_some_images_show_the_colours_that_clips_never_have():
    stills, clips = SyntheticStills(600), SyntheticClips(600)
    special = sum(stills.scene(row).colour in STILL_COLOURS for row in range(600))
    assert 140 < special < 220
    assert not any(clips.scene(row).colour in STILL_COLOURS for row in range(600))
    assert not any(SyntheticStills(90, still_colours=0).scene(row).colour in STILL_COLOURS for row in range(90))


def says_motion(text):
    return bool(WORDS_OF_MOTION & set(text.replace(",", "").split()))


def test_some_captions_of_images_have_no_words_of_motion():
    def share(source):
        return sum(says_motion(source.caption(row, generator(row))) for row in range(400)) / 400

    assert share(SyntheticStills(400, still_captions=0.3)) == pytest.approx(0.7, abs=0.08)
    assert share(SyntheticStills(400, still_captions=1)) == 0
    assert share(SyntheticStills(400, still_captions=0)) == 1


def test_an_image_shows_a_random_moment():
    source = SyntheticStills(40)
    row = next(row for row in range(40) if source.scene(row).motion.startswith("moving"))
    images = [source.read(row, ClipRequest(1, 16, 24), generator(seed)).tensors for seed in range(5)]
    assert images[0]["video"].shape == (3, 1, 16, 24)
    assert images[0]["mask"].shape == (1, 1, 16, 24)
    assert len({tensors["video"].sum().item() for tensors in images}) == 5
    with pytest.raises(UsageError, match="holds images"):
        source.read(row, ClipRequest(2, 16, 24), generator())


def test_patches_are_windows_of_a_large_image():
    source = SyntheticClips(40, camera_share=0)
    row = next(row for row in range(40) if source.scene(row).motion == "standing still")
    patch = source.read(row, ClipRequest(2, 200, 300, 8, "patch"), generator(2)).tensors["video"]
    assert patch.shape == (3, 2, 200, 300)
    whole = render([source.scene(row)], torch.tensor([0.0]), 256, 384)[0][0, :, 0]
    places = whole.unfold(1, 200, 1).unfold(2, 300, 1)
    at_corner = (places[..., 0, 0] - patch[:, 0, 0, 0, None, None]).abs().amax(0)
    best = [divmod(int(index), at_corner.shape[1]) for index in at_corner.flatten().argsort()[:200]]
    assert any(torch.equal(places[:, y, x], patch[:, 0]) for y, x in best)
    with pytest.raises(UsageError, match="at most 256x384"):
        source.read(row, ClipRequest(2, 320, 64, 8, "patch"), generator())


def test_the_fingerprint_tells_sources_apart():
    kinds = [
        SyntheticClips(20),
        SyntheticClips(21),
        SyntheticClips(20, seed=1),
        SyntheticClips(20, held_out=True),
        SyntheticClips(20, camera_share=0.5),
        SyntheticCourses(20),
        SyntheticStills(20),
        SyntheticStills(20, still_colours=0),
    ]
    assert len({source.fingerprint() for source in kinds}) == len(kinds)
    assert SyntheticClips(20).fingerprint() == kinds[0].fingerprint()
