"""Clips that go on from another without a jump."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavie.errors import UsageError
from lavie.sampling import Known, create_schedule, denoise, draw_noise, seeded
from lavie.sampling.seam import without_seam

FRAMES = 10


def clip(frames=FRAMES, seed=0):
    return torch.randn(2, 4, frames, 3, 5, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 4), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_a_clip_that_is_off_by_as_much_in_every_frame_comes_back_in_even_steps(known, seam_frames):
    true, jump = clip(), torch.randn(2, 4, 1, 3, 5, generator=torch.Generator().manual_seed(1))
    mended = without_seam(true + jump, true[:, :, :known], seam_frames)
    left = (mended - true)[:, :, known - 1 :]  # from the last known frame on
    for index in range(1, left.shape[2]):
        expected = jump[:, :, 0] * min(1, index / (seam_frames + 1))
        torch.testing.assert_close(left[:, :, index], expected, atol=1e-5, rtol=1e-4)


def test_what_the_network_made_right_stays_as_it_is():
    made = clip()
    assert torch.equal(without_seam(made, made[:, :, :2]), made)


def test_only_the_frames_of_the_seam_change():
    made, known = clip(), clip(1, seed=2)
    mended = without_seam(made, known, 3)
    assert torch.equal(mended[:, :, :1], made[:, :, :1])
    assert torch.equal(mended[:, :, 4:], made[:, :, 4:])
    assert not torch.equal(mended[:, :, 1:4], made[:, :, 1:4])
    assert torch.equal(without_seam(made, known, 0), made)


def test_a_negative_number_of_frames_is_refused():
    with pytest.raises(UsageError, match="0 frames or more, not -1"):
        without_seam(clip(), clip(1), -1)


# -- known frames that go free -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("released", "held"), [(0.0, 10), (0.25, 8), (0.45, 6), (1.0, 0)])
def test_known_frames_are_put_back_until_they_are_released(released, held):
    schedule, noise, seen = create_schedule("ddim", 10), draw_noise((4, FRAMES, 3, 5), [seeded(1)]), []
    clean = clip()[:1]
    known = Known(clean, (torch.arange(FRAMES) >= 2).float()[None, None, :, None, None], released=released)

    def predict(latents, timestep, region):
        seen.append(latents[:, :, :2])
        return torch.tanh(latents)

    made = denoise(predict, noise, schedule, [seeded(2)], known=known)
    put_back = [torch.equal(each, schedule.noised(clean, noise, step)[:, :, :2]) for step, each in enumerate(seen)]
    assert put_back[:held] == [True] * held
    assert put_back[max(1, held) :] == [False] * (10 - max(1, held))  # the first step is pure noise either way
    assert torch.equal(made[:, :, :2], clean[:, :, :2]) == (released == 0)


@pytest.mark.parametrize("released", [-0.1, 1.5, float("nan")])
def test_a_release_outside_of_all_steps_is_refused(released):
    with pytest.raises(UsageError, match="share of 0 to 1"):
        Known(clip(), torch.ones(1, 1, 1, 1, 1), released=released)
