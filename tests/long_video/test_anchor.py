"""An anchor against drift: what changes slowly is the first frame's, for as many steps as it holds."""

import pytest
import torch

from lavie.errors import UsageError
from lavie.sampling import Anchor, create_schedule, denoise, seeded

SHAPE = (2, 4, 12, 8, 12)


def noise(seed):
    return torch.randn(SHAPE, generator=seeded(seed))


@pytest.fixture
def frame():
    """A frame of one colour for each clip and channel."""
    return torch.randn(2, 4, 1, 1, 1, generator=seeded(5)).expand(-1, -1, -1, 8, 12)


@pytest.mark.parametrize("name", ["ddim", "euler"])
def test_slow_changes_are_the_noised_frames_and_fast_ones_stay(frame, name):
    schedule, latents = create_schedule(name, 10), noise(1)
    held = Anchor(frame, 1.0).applied(latents, noise(2), schedule, 9)
    still = schedule.noised(frame.expand(SHAPE), noise(2), 9)
    torch.testing.assert_close(held.mean((2, 3, 4)), still.mean((2, 3, 4)), atol=1e-4, rtol=1e-4)
    fastest = torch.fft.fftn(held - latents, dim=(2, 3, 4))[:, :, 6, 4, 6]
    assert fastest.abs().max() < 1e-2


def test_it_holds_for_its_part_of_the_steps(frame):
    schedule, latents = create_schedule("ddim", 10), noise(1)
    half = Anchor(frame, 0.5)
    assert [half.applied(latents, noise(2), schedule, step) is latents for step in (0, 4, 5, 9)] == [
        False, False, True, True,
    ]  # fmt: skip
    assert Anchor(frame, 0.0).applied(latents, noise(2), schedule, 0) is latents


def test_a_clip_that_fades_away_keeps_the_frames_colours(frame):
    """The network takes all latents for noise, so a clip without an anchor ends as nothing."""

    def made(anchor):
        predict = lambda latents, timestep, region: latents  # noqa: E731
        return denoise(predict, noise(1), create_schedule("ddim", 10), [seeded(1), seeded(2)], anchor=anchor)

    far, near, plain = made(Anchor(frame, 0.5)), made(Anchor(frame, 1.0)), made(None)
    assert torch.equal(made(Anchor(frame, 0.0)), plain)
    distances = [(clip.mean((2, 3, 4)) - frame[:, :, 0, 0, 0]).abs().mean().item() for clip in (near, far, plain)]
    assert distances == sorted(distances)
    assert distances[0] < 0.5 * distances[2]


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_beyond_the_steps_is_refused(frame, strength):
    with pytest.raises(UsageError, match="anchor must be between 0 and 1"):
        Anchor(frame, strength)
