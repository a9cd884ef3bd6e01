"""The judge of the painted world: right about what is rendered, and not fooled by what is not there."""

import pytest
import torch

from lab.judge.accuracy import right, shares
from lab.judge.fit import examples
from lab.judge.judge import read
from lab.judge.store import FITTED
from lavie.errors import UsageError
from lavie.models.latents import to_uint8

SEED = 12


def as_file(film):
    return to_uint8(film.video).permute(1, 2, 3, 0)


@pytest.fixture(scope="module", params=[12, pytest.param(40, marks=pytest.mark.slow)])
def readings(request):
    if not FITTED.exists():
        pytest.skip("the judge is not fitted: python -m lab.judge.fit")
    return [(scene, film, read(as_file(film))) for scene, film in examples(SEED, request.param)]


def test_the_judge_reads_rendered_clips(readings):
    found = shares(right(scene, reading) for scene, _, reading in readings)
    for name in ("place", "time", "weather", "camera", "guests", "kind", "colour", "direction"):
        assert found[name] >= 0.9, (name, found)


def test_outlines_of_rendered_guests_overlap_with_what_is_seen(readings):
    found = shares(right(scene, reading) for scene, _, reading in readings)
    assert found["overlap"] > 0.85
    assert found["fall"] < 0.05


def test_a_clip_played_backwards_moves_the_other_way(readings):
    for scene, film, _ in readings:
        if scene.guest is not None and scene.guest.motion in ("moving left", "moving right"):
            back = read(as_file(film).flip(0)).motion
            assert back == {"moving left": "moving right", "moving right": "moving left"}[scene.guest.motion]


def test_a_guest_that_is_copied_is_no_longer_alone(readings):
    for scene, film, reading in readings:
        if scene.guest is None or scene.guest.motion != "hovering" or reading.guests != 1:
            continue
        video, mask = film.video, film.mask
        shift = 48 if scene.guest.start[0] < 0.75 else -48
        copied = torch.where(mask.roll(shift, -1) > 0.5, video.roll(shift, -1), video)
        assert read(to_uint8(copied).permute(1, 2, 3, 0)).guests == 2
        return
    pytest.skip("no guest hovers in these clips")


def test_other_things_than_clips_are_refused():
    with pytest.raises(UsageError, match="uint8 video"):
        read(torch.zeros(3, 64, 96))
