"""What is tried when memory runs out: exact means before those that change the image, and each is told."""

import pytest

from lavie.config import RELEASED_STAGES
from lavie.runtime.fallback import attempts
from lavie.stages import STAGES

BASE, INTERPOLATION, UPSCALER = (RELEASED_STAGES[stage] for stage in ("base", "interpolation", "upscaler"))


def tried(config, num_frames=61, height=320, width=512, stage="upscaler"):
    found = list(attempts(config, STAGES[stage], num_frames, height, width))
    settings = [
        (each.sequential_guidance, each.sliced, each.config.window, each.config.overlap, each.config.tile)
        for each in found
    ]
    return settings, found


def test_the_first_attempt_is_what_was_asked_for():
    for name, config in RELEASED_STAGES.items():
        first = next(attempts(config, STAGES[name], 16, 320, 512))
        assert (first.config, first.sequential_guidance, first.sliced, first.note) == (config, False, False, "")


def test_a_stage_without_windows_takes_its_guidance_in_turn_and_works_in_slices():
    found = list(attempts(BASE, STAGES["base"], 16, 320, 512))
    assert [(each.config, each.sequential_guidance, each.sliced) for each in found] == [
        (BASE, False, False),
        (BASE, True, False),
        (BASE, True, True),
    ]
    assert all("stays the same" in each.note for each in found[1:])


def test_the_upscaler_goes_on_to_smaller_windows_and_tiles():
    settings, found = tried(UPSCALER)
    assert settings == [
        (False, False, 8, 2, 0),
        (True, False, 8, 2, 0),
        (True, True, 8, 2, 0),
        (True, True, 4, 1, 0),
        (True, True, 4, 1, 256),
    ]
    assert found[-1].config.tile_overlap == 64
    assert all("changes the result" in each.note for each in found[3:])
    assert "4 frames" in found[3].note
    assert "256 pixels" in found[4].note


def test_interpolation_has_no_tiles():
    settings, _ = tried(INTERPOLATION, 40, stage="interpolation")
    assert settings == [
        (False, False, 16, 4, 0),
        (True, False, 16, 4, 0),
        (True, True, 16, 4, 0),
        (True, True, 8, 2, 0),
    ]


def test_without_guidance_there_are_no_halves_to_compute_in_turn():
    settings, _ = tried(INTERPOLATION.replaced(guidance_scale=1.0), 40, stage="interpolation")
    assert settings == [(False, False, 16, 4, 0), (False, True, 16, 4, 0), (False, True, 8, 2, 0)]


@pytest.mark.parametrize(
    ("given", "num_frames", "expected"),
    [
        ({"window": 0, "overlap": 0}, 20, (10, 1)),  # the whole clip at once
        ({"window": 64, "overlap": 4}, 20, (10, 2)),  # a window beyond the clip
        ({"window": 5, "overlap": 4}, 20, (3, 2)),
        ({"window": 3, "overlap": 2}, 20, (2, 1)),
        ({"window": 0, "overlap": 50}, 7, (4, 3)),
    ],
)
def test_the_halved_window_moves_and_overlaps(given, num_frames, expected):
    last = list(attempts(INTERPOLATION.replaced(**given), STAGES["interpolation"], num_frames, 0, 0))[-1].config
    assert (last.window, last.overlap) == expected


@pytest.mark.parametrize(("num_frames", "window"), [(1, 0), (2, 0), (9, 2)])
def test_what_cannot_be_halved_any_more_is_left(num_frames, window):
    settings, _ = tried(UPSCALER.replaced(window=window, overlap=0), num_frames, 40, 48)
    assert settings == [
        (in_turn, sliced, window, 0, 0) for in_turn, sliced in ((False, False), (True, False), (True, True))
    ]


def test_given_tiles_are_halved():
    last = tried(UPSCALER.replaced(tile=96, tile_overlap=40))[1][-1].config
    assert (last.tile, last.tile_overlap) == (48, 24)
