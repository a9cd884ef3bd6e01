"""What the networks are asked to predict, and how much each error counts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lavie.errors import UsageError
from lavie.sampling.schedule import LINEAR_BETAS, alphas_cumprod
from lavie.training.objective import (
    add_noise,
    anchored_timesteps,
    example_errors,
    frame_timesteps,
    joint_errors,
    joint_loss,
    level_weights,
    target,
    weighted_error,
)

TIMESTEPS = torch.tensor([0, 100, 300, 500, 700, 999])
KINDS = ["epsilon", "v_prediction"]


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def snr(timesteps):
    alpha = alphas_cumprod()[timesteps]
    return alpha / (1 - alpha)


def test_noise_and_targets_are_those_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(**LINEAR_BETAS)
    latents, noise, timesteps = random(6, 4, 3, 2, 2), random(6, 4, 3, 2, 2, seed=1), TIMESTEPS
    torch.testing.assert_close(add_noise(latents, noise, timesteps), scheduler.add_noise(latents, noise, timesteps))
    velocity = scheduler.get_velocity(latents, noise, timesteps)
    torch.testing.assert_close(target(latents, noise, timesteps, "v_prediction"), velocity)
    assert target(latents, noise, timesteps, "epsilon") is noise
    assert target(latents, noise, timesteps, "sample") is latents


@pytest.mark.parametrize("kind", KINDS)
def test_frames_may_have_noise_levels_of_their_own(kind):
    latents, noise = random(2, 4, 5, 2, 2), random(2, 4, 5, 2, 2, seed=1)
    timesteps = torch.tensor([[10, 400, 7], [999, 0, 30]])
    levels = frame_timesteps(timesteps, 3)
    assert levels.tolist() == [[10, 10, 10, 400, 7], [999, 999, 999, 0, 30]]
    noisy, truth = add_noise(latents, noise, levels), target(latents, noise, levels, kind)
    for frame in range(5):
        one = slice(frame, frame + 1)
        expected = add_noise(latents[:, :, one], noise[:, :, one], levels[:, frame])
        assert torch.equal(noisy[:, :, one], expected)
        assert torch.equal(truth[:, :, one], target(latents[:, :, one], noise[:, :, one], levels[:, frame], kind))


@given(frames=st.integers(2, 20), seed=st.integers(0, 2**31))
def test_an_anchored_clip_has_one_frame_with_less_noise_at_most(frames, seed):
    levels = anchored_timesteps(frames, torch.Generator().manual_seed(seed))
    assert levels.shape == (frames,)
    assert levels.dtype == torch.int64
    assert levels.min() >= 0
    assert levels.max() < 1000
    assert len(set(sorted(levels.tolist())[1:])) == 1


def test_any_frame_may_be_the_anchor_at_any_level():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([anchored_timesteps(4, generator) for _ in range(400)])
    assert set(drawn.argmin(dim=1).tolist()) == {0, 1, 2, 3}
    lowest, others = drawn.min(dim=1).values.float(), drawn.max(dim=1).values.float()
    assert lowest.min() < 10
    assert (lowest / others).max() > 0.9
    assert others.mean() == pytest.approx(667, abs=40)
    assert lowest.mean() == pytest.approx(667 / 3, abs=40)


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_of_a_clip_whose_frames_have_levels_of_their_own_is_the_mean_of_its_frames(kind):
    prediction, truth = random(2, 4, 3, 2, 2), random(2, 4, 3, 2, 2, seed=1)
    levels = torch.tensor([[10, 400, 7], [999, 0, 30]])
    errors = example_errors(prediction, truth, levels, kind, "min-snr")
    frames = [example_errors(prediction[:, :, [f]], truth[:, :, [f]], levels[:, f], kind, "min-snr") for f in range(3)]
    torch.testing.assert_close(errors, torch.stack(frames).mean(0))
    even = torch.full((2, 3), 300)
    same = example_errors(prediction, truth, even[:, 0], kind, "min-snr")
    torch.testing.assert_close(example_errors(prediction, truth, even, kind, "min-snr"), same)


def test_uniform_weights_are_the_plain_mean_squared_error():
    prediction, truth = random(6, 4, 3, 2, 2), random(6, 4, 3, 2, 2, seed=1)
    errors = example_errors(prediction, truth, TIMESTEPS, "epsilon", "uniform")
    torch.testing.assert_close(errors, (prediction - truth).square().flatten(1).mean(1))


def test_min_snr_caps_what_an_error_of_the_clean_latents_counts():
    """Hang et al. 2023: min(SNR, 5)/SNR for epsilon, min(SNR, 5)/(SNR + 1) for v."""
    ratio = snr(TIMESTEPS)
    capped = ratio.clamp(max=5)
    torch.testing.assert_close(level_weights(TIMESTEPS, "epsilon", "min-snr"), capped / ratio)
    torch.testing.assert_close(level_weights(TIMESTEPS, "v_prediction", "min-snr"), capped / (ratio + 1))
    torch.testing.assert_close(level_weights(TIMESTEPS, "sample", "min-snr"), capped)


@pytest.mark.parametrize("weighting", ["min-snr", "clean"])
def test_both_kinds_of_prediction_weigh_an_error_of_the_clean_latents_alike(weighting):
    """Where no cap on noise errors acts: the same error of x0 costs the same whichever way it is predicted."""
    timesteps = torch.tensor([100, 300, 400])
    of_epsilon = level_weights(timesteps, "epsilon", weighting) * snr(timesteps)
    of_v = level_weights(timesteps, "v_prediction", weighting) * (snr(timesteps) + 1)
    torch.testing.assert_close(of_epsilon, of_v)
    torch.testing.assert_close(level_weights(timesteps, "sample", weighting), of_v)


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("epsilon", (0.0006, 0.702852, 2.538, 12.854024, 25.0, 25.0)),
        ("v_prediction", (0.0006, 0.629152, 1.0, 1.0, 1.0, 1.0)),
    ],
)
def test_the_clean_weighting_keeps_the_numbers_that_the_bundled_weights_were_made_with(kind, weights):
    assert level_weights(TIMESTEPS, kind, "clean").tolist() == pytest.approx(weights, rel=1e-5, abs=1e-6)


def test_mask_weights_move_weight_without_adding_any():
    prediction, truth = random(2, 4, 3, 4, 4), torch.zeros(2, 4, 3, 4, 4)
    timesteps = torch.tensor([5, 600])
    plain = example_errors(prediction, truth, timesteps, "epsilon")
    for constant in (0.5, 3.0):
        even = torch.full((2, 1, 3, 4, 4), constant)
        torch.testing.assert_close(example_errors(prediction, truth, timesteps, "epsilon", mask_weights=even), plain)
    corner = torch.zeros(2, 1, 3, 4, 4)
    corner[..., 0, 0] = 2
    errors = example_errors(prediction, truth, timesteps, "epsilon", "uniform", corner)
    torch.testing.assert_close(errors, prediction[..., 0, 0].square().flatten(1).mean(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own_levels", [True, False])
def test_the_joint_errors_are_those_of_the_video_and_of_each_image_alone(kind, own_levels):
    prediction, truth, mask_weights = random(2, 4, 5, 3, 3), random(2, 4, 5, 3, 3, seed=1), random(2, 1, 5, 3, 3).abs()
    timesteps = torch.tensor([[10, 400, 7], [999, 0, 30]]) if own_levels else torch.tensor([10, 999])
    video, images = joint_errors(prediction, truth, timesteps, 2, kind, "clean", mask_weights)
    levels = timesteps if own_levels else timesteps[:, None].expand(2, 3)

    def alone(frames, level):
        predicted, true, weight = (part[:, :, frames] for part in (prediction, truth, mask_weights))
        return example_errors(predicted, true, level, kind, "clean", weight)

    torch.testing.assert_close(video, alone(slice(3), levels[:, 0]))
    expected = torch.stack([alone(slice(3 + m, 4 + m), levels[:, 1 + m]) for m in range(2)], dim=1)
    torch.testing.assert_close(images, expected.flatten())
    per_frame = joint_errors(prediction, truth, frame_timesteps(levels, 3), 2, kind, "clean", mask_weights)
    torch.testing.assert_close(per_frame[0], video)
    torch.testing.assert_close(per_frame[1], images)


def test_the_joint_loss_weighs_the_images_by_alpha():
    video, images = torch.tensor([1.0, 3.0]), torch.tensor([4.0, 6.0, 8.0, 10.0])
    assert {name: value.item() for name, value in joint_loss(video, images, alpha=0.25).items()} == {
        "total": 2 + 0.25 * 7,
        "video": 2,
        "image": 7,
    }


def test_the_weighted_error_is_the_mean_over_examples():
    prediction, truth = random(6, 4, 3, 2, 2), random(6, 4, 3, 2, 2, seed=1)
    errors = example_errors(prediction, truth, TIMESTEPS, "epsilon")
    torch.testing.assert_close(weighted_error(prediction, truth, TIMESTEPS, "epsilon"), errors.mean())


def test_unknown_weightings_are_refused():
    with pytest.raises(UsageError, match="min-snr"):
        level_weights(TIMESTEPS, "epsilon", "p2")
