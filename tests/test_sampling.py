"""Windows, noise, schedules and the denoising loop."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lavie.errors import Cancelled, UsageError
from lavie.sampling import SCHEDULERS, blended, create_schedule, denoise, draw_noise, regions, seeded, spans
from lavie.sampling.conditioning import key_frame_of, low_resolution_noise
from lavie.sampling.denoise import WHOLE
from lavie.sampling.schedulers import alphas_cumprod
from lavie.sampling.windows import ramp


@given(length=st.integers(1, 300), size=st.integers(1, 70), overlap=st.integers(0, 69))
def test_windows_cover_every_frame_and_share_at_least_the_overlap(length, size, overlap):
    if overlap >= size:
        with pytest.raises(UsageError):
            spans(length, size, overlap)
        return
    windows = spans(length, size, overlap)
    assert windows[0].start == 0
    assert windows[-1].stop == length
    for before, after in pairwise(windows):
        assert before.start < after.start
        assert before.stop - after.start >= overlap
        assert after.stop - after.start == size


@given(length=st.integers(9, 60), overlap=st.integers(0, 7))
def test_every_frame_has_a_positive_weight_in_every_window(length, overlap):
    for window in spans(length, 8, overlap):
        assert ramp(window, length, overlap).min() > 0


def test_blending_equal_predictions_changes_nothing():
    def predict(latents, timestep, region):
        return latents * 2

    latents = torch.randn(1, 4, 20, 24, 24)
    parts = regions(latents.shape[2:], spans(20, 8, 3), tile=10, tile_overlap=4)
    assert len(parts) > 9
    whole = blended(predict, parts, (3, 4))(latents, torch.tensor(0), WHOLE)
    torch.testing.assert_close(whole, latents * 2)


def test_one_window_that_covers_all_is_the_plain_prediction():
    def predict(latents, timestep, region):
        return latents

    parts = regions((16, 8, 8), spans(16, 16, 4))
    assert blended(predict, parts, (4, 0)) is predict


def test_a_window_border_leaves_no_step_in_the_blend():
    """Windows that disagree by 4 meet in a ramp: no two frames differ by more than two of its five steps."""

    def predict(latents, timestep, region):
        return torch.full_like(latents, float(region[0].start))

    latents = torch.zeros(1, 1, 20, 2, 2)
    windows = spans(20, 8, 4)
    blend = blended(predict, regions((20, 2, 2), windows), (4, 0))(latents, torch.tensor(0), WHOLE)
    assert blend[0, 0, :, 0, 0].diff().abs().max() <= 4 * 2 / 5 + 1e-6


def test_noise_depends_on_the_seed_and_not_on_the_batch():
    alone = draw_noise((4, 2, 3, 3), [seeded(7)])
    together = draw_noise((4, 2, 3, 3), [seeded(1), seeded(7)])
    assert torch.equal(alone[0], together[1])
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_recovers_the_video_from_a_perfect_prediction(name):
    """A network that knows the clean latents leads every scheduler to them."""
    clean = torch.randn(1, 4, 3, 4, 4, generator=seeded(0))
    schedule = create_schedule(name, 20)

    def oracle(latents, timestep, region):
        alpha = torch.as_tensor(schedule._alpha(seen.pop()))
        return (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    seen = list(reversed(range(20)))
    result = denoise(oracle, draw_noise((4, 3, 4, 4), [seeded(1)]), schedule, [seeded(2)])
    assert (result - clean).abs().mean() < 0.05


def test_the_callback_sees_every_step_and_a_sound_estimate_of_the_result():
    clean, seen = torch.randn(1, 4, 3, 4, 4, generator=seeded(0)), []
    alphas = alphas_cumprod()

    def oracle(latents, timestep, region):
        alpha = alphas[int(timestep)]
        return (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    schedule = create_schedule("ddim", 10)
    denoise(oracle, torch.randn(1, 4, 3, 4, 4), schedule, [seeded(0)], lambda *step: seen.append(step))
    assert [step[:3] for step in seen] == [(i + 1, 10, 901.0 - 100 * i) for i in range(10)]
    assert all(torch.allclose(x0, clean, atol=1e-2) for *_, x0 in seen)


def test_cancelling_in_the_callback_stops_within_the_step():
    calls = []

    def predict(latents, timestep, region):
        calls.append(timestep)
        return latents

    def cancel(step, *_):
        if step == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        denoise(predict, torch.randn(1, 4, 1, 2, 2), create_schedule("ddim", 10), [seeded(0)], cancel)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("name", "steps", "spacing"), [("plms", 20, "default"), ("ddim", 0, "default"), ("ddim", 1001, "default")]
)
def test_schedules_that_cannot_be_are_refused(name, steps, spacing):
    with pytest.raises(UsageError):
        create_schedule(name, steps, spacing)


def test_a_spacing_that_a_scheduler_lacks_is_refused_with_those_it_has():
    with pytest.raises(UsageError, match="leading, linspace, trailing"):
        create_schedule("ddim", 10, "karras")


@settings(deadline=None, max_examples=30)
@given(keys=st.integers(2, 40))
def test_key_frame_m_conditions_the_output_frame_where_it_stands(keys):
    index = key_frame_of(4 * keys - 3)
    assert index[::4].tolist() == list(range(keys))
    assert index.diff().min() >= 0
    assert index.max() == keys - 1


def test_sixteen_key_frames_condition_sixty_one_as_officially(golden):
    expected = golden("loop_interpolation").sidecar["condition_index_per_output_frame"]
    assert key_frame_of(61).tolist() == expected


def test_low_resolution_frames_are_noised_as_officially(golden):
    loop = golden("loop_vsr")
    pixels = loop["in/frames_uint8"].float().permute(1, 0, 2, 3)[None, :, :8] / 127.5 - 1
    noised = low_resolution_noise(pixels, loop["in/chunk0.low_res_noise"], 50)
    torch.testing.assert_close(noised, loop["out/chunk0.low_res_noised"], atol=1e-5, rtol=1e-5)


def test_a_noise_level_out_of_range_is_refused():
    with pytest.raises(UsageError, match="between 0 and 350"):
        low_resolution_noise(torch.zeros(1), torch.zeros(1), 351)
