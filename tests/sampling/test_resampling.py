"""RePaint's resampling: steps done again and again, so that what is made fits what is known."""

import pytest
import torch

from lavie.errors import UsageError
from lavie.sampling import Known, create_schedule, denoise, draw_noise, seeded
from lavie.schedulers import SCHEDULERS

SCHEDULES = [(name, spacing) for name, spec in SCHEDULERS.items() for spacing in spec.spacings]
CLEAN = torch.randn(1, 4, 3, 4, 4, generator=seeded(0))
MASK = torch.tensor([0.0, 1.0, 1.0])[None, None, :, None, None]


def first_frame(**options):
    return Known(CLEAN, MASK, **options)


def denoised(schedule, predict=lambda x, timestep, region: torch.tanh(x), callback=None, **options):
    return denoise(predict, draw_noise((4, 3, 4, 4), [seeded(1)]), schedule, [seeded(2)], callback, **options)


@pytest.mark.parametrize(("name", "spacing"), SCHEDULES)
def test_one_pass_is_what_it_was_without_resampling(name, spacing):
    plain, once = (
        denoised(create_schedule(name, 5, spacing), known=first_frame(**options)) for options in ({}, {"resample": 1})
    )
    assert torch.equal(plain, once)


@pytest.mark.parametrize(("name", "spacing"), SCHEDULES)
def test_every_step_is_done_so_many_times_and_ends_at_the_known_and_the_perfectly_predicted(name, spacing):
    schedule, timesteps, told = create_schedule(name, 6, spacing), [], []

    def predict(latents, timestep, region):
        alpha = torch.as_tensor(schedule._alpha(len(timesteps) // 3))
        timesteps.append(float(timestep))
        return (latents - alpha.sqrt() * CLEAN) / (1 - alpha).sqrt()

    result = denoised(schedule, predict, lambda *step: told.append(step[:3]), known=first_frame(resample=3))
    assert timesteps == [float(t) for t in schedule.timesteps for _ in range(3)]
    assert told == [(number, 18, timestep) for number, timestep in enumerate(timesteps, start=1)]
    assert torch.equal(result[:, :, 0], CLEAN[:, :, 0])
    assert (result - CLEAN).abs().mean() < 0.05


@pytest.mark.parametrize(("name", "spacing"), SCHEDULES)
def test_latents_noised_again_are_clean_ones_noised_to_the_step_before(name, spacing):
    schedule, noise = create_schedule(name, 8, spacing), torch.randn(2, 4, 64, 16, 16, generator=seeded(3))
    clean = torch.ones_like(noise[0])
    before, after = schedule.noised(clean, noise[0], 3), schedule.noised(clean, noise[0], 4)
    again = schedule.renoised(after, noise[1], 3)
    assert again.mean().item() == pytest.approx(before.mean().item(), abs=0.02 * before.std().item() + 0.02)
    assert again.std().item() == pytest.approx(before.std().item(), rel=0.02)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_noise_left_falls_with_every_step(name):
    alphas = create_schedule(name, 7).alphas()
    assert len(alphas) == 8
    assert (alphas.diff() > 0).all()
    assert alphas[-1] > 0.999


def test_no_step_at_all_is_refused():
    with pytest.raises(UsageError, match="once or more often"):
        first_frame(resample=0)
