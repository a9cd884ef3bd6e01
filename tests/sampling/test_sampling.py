"""Windows, noise, schedules and the denoising loop."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.guidance import guided

from lavie.checkpoints import load_unet
from lavie.config import find_family
from lavie.errors import Cancelled, UsageError
from lavie.sampling import (
    Known,
    TextCondition,
    blended,
    create_schedule,
    denoise,
    draw_noise,
    regions,
    seeded,
    spans,
)
from lavie.sampling.conditioning import key_frame_of, low_resolution_noise
from lavie.sampling.denoise import WHOLE
from lavie.sampling.schedule import alphas_cumprod
from lavie.sampling.windows import ramp
from lavie.schedulers import PREDICTION_TYPES, SCHEDULERS


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


SCHEDULES = [(name, spacing) for name, spec in SCHEDULERS.items() for spacing in spec.spacings]
CLEAN = torch.randn(1, 4, 3, 4, 4, generator=seeded(0))


def oracle(schedule, clean=CLEAN, prediction_type="epsilon"):
    """A network that knows the clean latents."""
    steps = iter(range(len(schedule)))

    def predict(latents, timestep, region):
        alpha = torch.as_tensor(schedule._alpha(next(steps)))
        noise = (latents - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * clean
        return {"epsilon": noise, "v_prediction": velocity, "sample": clean}[prediction_type]

    return predict


@pytest.mark.parametrize(("name", "spacing"), SCHEDULES)
@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_every_scheduler_recovers_the_video_from_a_perfect_prediction(name, spacing, prediction_type):
    schedule = create_schedule(name, 20, spacing, prediction_type)
    predict = oracle(schedule, prediction_type=prediction_type)
    result = denoise(predict, draw_noise((4, 3, 4, 4), [seeded(1)]), schedule, [seeded(2)])
    assert (result - CLEAN).abs().mean() < 0.05


# -- starting from latents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "spacing"), SCHEDULES)
@pytest.mark.parametrize("strength", [0.5, 0.2, 0.9])
def test_every_scheduler_goes_on_from_given_latents(name, spacing, strength):
    """Started from other latents, a network that knows the clean ones still leads there, from the first step on."""
    schedule = create_schedule(name, 10, spacing, strength=strength)
    seen = []
    start = torch.randn(1, 4, 3, 4, 4, generator=seeded(3))
    noise = draw_noise((4, 3, 4, 4), [seeded(1)])
    callback = lambda *step: seen.append(step)  # noqa: E731
    result = denoise(oracle(schedule), noise, schedule, [seeded(2)], callback, initial=start)
    assert len(seen) == len(schedule) == 10
    assert all(torch.allclose(x0, CLEAN, atol=2e-2) for *_, x0 in seen)
    assert (result - CLEAN).abs().mean() < 0.05


@pytest.mark.parametrize(("name", "spacing"), SCHEDULES)
def test_a_strength_takes_the_last_of_more_steps(name, spacing):
    whole, part = create_schedule(name, 20, spacing), create_schedule(name, 10, spacing, strength=0.5)
    assert torch.equal(part.timesteps, whole.timesteps[-10:])
    assert [part._alpha(step) for step in range(10)] == [whole._alpha(step) for step in range(10, 20)]
    assert (whole.start, part.start) == (0, 10)


@pytest.mark.parametrize(("name", "spacing"), [each for each in SCHEDULES if each[0] in ("ddim", "euler")])
def test_the_end_of_a_run_repeats_it_from_where_it_stood(name, spacing):
    """A run of strength 0.5 from the latents that a whole run is given in its middle ends where that ends."""
    whole, part = create_schedule(name, 20, spacing), create_schedule(name, 10, spacing, strength=0.5)
    noise = draw_noise((4, 3, 4, 4), [seeded(1)])
    middle = whole.noised(CLEAN, noise, 10)
    assert torch.equal(part.noised(CLEAN, noise, 0), middle)
    expected = noise * whole.init_noise_sigma
    for step in range(20):
        expected = middle if step == 10 else expected
        prediction = torch.tanh(whole.model_input(expected, step))
        expected = whole.step(prediction, step, expected, [seeded(2)])
    result = denoise(lambda x, t, region: torch.tanh(x), noise, part, [seeded(2)], initial=CLEAN)
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize(("name", "spacing"), SCHEDULES)
def test_noised_latents_are_what_the_network_was_trained_on(name, spacing):
    schedule = create_schedule(name, 20, spacing)
    noise = torch.randn(CLEAN.shape, generator=seeded(1))
    for step in range(1) if name.startswith("euler") else range(20):  # euler keeps count of its own steps
        alpha = torch.tensor(schedule._alpha(step))
        expected = alpha.sqrt() * CLEAN + (1 - alpha).sqrt() * noise
        noised = schedule.noised(CLEAN, noise, step)
        torch.testing.assert_close(schedule.model_input(noised, step), expected, atol=1e-5, rtol=1e-5)
        if float(schedule.timesteps[step]).is_integer() and spacing != "karras":  # those are rounded
            torch.testing.assert_close(alpha, alphas_cumprod()[int(schedule.timesteps[step])], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_full_strength_starts_from_noise_alone(name):
    noise = draw_noise((4, 3, 4, 4), [seeded(1)])
    ends = []
    for initial in (None, CLEAN):
        schedule = create_schedule(name, 4, strength=1.0)
        ends.append(denoise(lambda x, t, region: torch.tanh(x), noise, schedule, [seeded(2)], initial=initial))
    assert torch.equal(*ends)


@pytest.mark.parametrize("strength", [0, -0.5, 1.01, float("nan")])
def test_a_strength_that_cannot_be_is_refused(strength):
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        create_schedule("ddim", 10, strength=strength)


@pytest.mark.parametrize(("name", "steps"), [("ddim", 60), ("lcm", 4)])
def test_more_steps_than_a_scheduler_has_are_refused_with_the_strength_that_asks_for_them(name, steps):
    with pytest.raises(UsageError, match="Take fewer steps or more strength"):
        create_schedule(name, steps, strength=0.05)


# -- known parts -------------------------------------------------------------------------------------------------------

MASKS = {
    "frames": torch.tensor([0.0, 1.0, 1.0])[None, None, :, None, None],
    "part of the image": torch.tensor([1.0, 0.0, 0.0, 1.0])[None, None, None, None, :],
    "all": torch.zeros(1, 1, 1, 1, 1),
}


@pytest.mark.parametrize(("name", "spacing"), SCHEDULES)
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_known_parts_come_back_bit_for_bit_and_the_rest_is_made(name, spacing, strength):
    """The network sees the known parts at the noise of every step, and never changes them."""
    for mask in MASKS.values():
        kept = torch.randn(1, 4, 3, 4, 4, generator=seeded(4))
        noise, seen = draw_noise((4, 3, 4, 4), [seeded(1)]), []
        schedule = create_schedule(name, 10, spacing, strength=strength)
        perfect = oracle(schedule)

        def predict(latents, timestep, region, seen=seen, perfect=perfect):
            seen.append(latents.clone())
            return perfect(latents, timestep, region)

        result = denoise(predict, noise, schedule, [seeded(2)], initial=kept, known=Known(kept, mask))
        is_known = (mask == 0).expand_as(result)
        assert torch.equal(result[is_known], kept[is_known])
        assert torch.allclose(result[~is_known], CLEAN[~is_known], atol=0.25)
        for step, latents in enumerate(seen):
            alpha = torch.tensor(schedule._alpha(step))
            expected = alpha.sqrt() * kept + (1 - alpha).sqrt() * noise
            torch.testing.assert_close(latents[is_known], expected[is_known], atol=1e-4, rtol=1e-4)


def test_nothing_known_changes_nothing():
    noise = draw_noise((4, 3, 4, 4), [seeded(1)])
    ends = []
    for known in (None, Known(CLEAN, torch.ones(1, 1, 1, 1, 1))):
        schedule = create_schedule("dpmpp_2m_sde", 6)
        ends.append(denoise(lambda x, t, region: torch.tanh(x), noise, schedule, [seeded(2)], known=known))
    assert torch.equal(*ends)


def test_the_estimates_show_the_known_parts_as_they_are():
    seen, schedule = [], create_schedule("ddim", 4)
    known = Known(CLEAN, MASKS["frames"])
    callback = lambda *step: seen.append(step[-1])  # noqa: E731
    denoise(lambda x, t, region: x, torch.randn(2, 4, 3, 4, 4), schedule, [seeded(2)] * 2, callback, known=known)
    assert all(torch.equal(x0[:, :, :1], CLEAN[:, :, :1].expand(2, -1, -1, -1, -1)) for x0 in seen)


def test_a_mask_in_pixels_becomes_one_in_latent_pixels():
    mask = torch.zeros(3, 32, 32)
    mask[1, :, :16] = 1
    made = Known.from_mask(CLEAN, mask).mask
    assert made.shape == (1, 1, 3, 4, 4)
    assert (made[0, 0, 1] - torch.tensor([1.0, 1.0, 0.0, 0.0])).abs().max() < 0.25  # a soft edge
    assert (made[0, 0, 1, :, [0, 3]] - torch.tensor([1.0, 0.0])).abs().max() < 1e-6
    assert (made[:, :, [0, 2]] == 0).all()
    assert Known.from_mask(CLEAN, mask[:1, None]).mask.shape == (1, 1, 1, 4, 4)
    assert torch.equal(Known.from_mask(CLEAN, mask[1]).mask[:, :, 0], made[:, :, 1])


@pytest.mark.parametrize("shape", [(1, 1, 2, 4, 4), (1, 2, 3, 4, 4), (3, 4, 4)])
def test_a_mask_of_another_shape_is_refused(shape):
    with pytest.raises(UsageError, match="does not fit"):
        Known(CLEAN, torch.ones(shape))


def test_a_mask_with_another_number_of_frames_is_refused():
    with pytest.raises(UsageError, match="The mask has 2 frames, the video 3"):
        Known.from_mask(CLEAN, torch.ones(2, 32, 32))


# -- guidance ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unet():
    return load_unet(find_family("lavie-tiny").path("base"), dtype=torch.float32)


def states(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


@pytest.mark.parametrize("clips", [1, 2])
@torch.no_grad()
def test_halves_of_the_guidance_in_turn_give_the_same_within_rounding(unet, clips):
    width = unet.config.cross_attention_dim
    text = TextCondition(states(clips, 77, width), states(clips, 77, width, seed=1))
    latents, timestep = torch.randn(clips, 4, 5, 8, 6, generator=seeded(2)), torch.tensor(500)
    together = guided(unet, text, 7.5)(latents, timestep, WHOLE)
    in_turn = guided(unet, text, 7.5, sequential_guidance=True)(latents, timestep, WHOLE)
    torch.testing.assert_close(together, in_turn, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_one_text_stands_for_every_clip_of_a_batch(unet):
    width = unet.config.cross_attention_dim
    text = TextCondition(states(1, 77, width), states(1, 77, width, seed=1))
    latents, timestep = torch.randn(3, 4, 2, 4, 4, generator=seeded(2)), torch.tensor(500)
    together = guided(unet, text, 3.0)(latents, timestep, WHOLE)
    alone = torch.cat([guided(unet, text, 3.0)(clip[None], timestep, WHOLE) for clip in latents])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_texts_of_unlike_length_are_repeated_which_attention_does_not_see(unet):
    width = unet.config.cross_attention_dim
    positive, negative = states(1, 6, width), states(1, 4, width, seed=1)
    text = TextCondition.of(positive, negative)
    assert text.positive.shape == text.negative.shape == (1, 12, width)
    latents, timestep = torch.randn(1, 4, 2, 4, 4, generator=seeded(2)), torch.tensor(500)
    expected = [unet(latents, timestep, each) for each in (positive, negative)]
    prediction = guided(unet, text, 3.0)(latents, timestep, WHOLE)
    torch.testing.assert_close(prediction, expected[1] + 3 * (expected[0] - expected[1]), atol=1e-4, rtol=1e-4)


def test_equal_texts_stay_as_they_are_and_one_negative_prompt_serves_all():
    positive, negative = states(3, 77, 8), states(1, 77, 8, seed=1)
    text = TextCondition.of(positive, negative)
    assert torch.equal(text.positive, positive)
    assert torch.equal(text.negative, negative.expand(3, -1, -1))


def test_texts_of_two_encoders_or_two_batches_are_refused():
    with pytest.raises(UsageError, match="same text encoder"):
        TextCondition.of(states(1, 77, 8), states(1, 77, 16))
    with pytest.raises(UsageError, match="2 prompts but 3 negative prompts"):
        TextCondition.of(states(2, 77, 8), states(3, 77, 8))


def test_noise_levels_reach_every_clip_and_half():
    seen = []

    def unet(x, timestep, states, class_labels):
        seen.append((len(x), class_labels.tolist()))
        return x

    text = TextCondition(states(1, 7, 8), states(1, 7, 8))
    latents = torch.zeros(2, 4, 1, 2, 2)
    guided(unet, text, 2.0, class_labels=torch.tensor([50]))(latents, torch.tensor(1), WHOLE)
    guided(unet, text, 2.0, class_labels=torch.tensor([50, 60]), sequential_guidance=True)(
        latents, torch.tensor(1), WHOLE
    )
    assert seen == [(4, [50] * 4), (2, [50, 60]), (2, [50, 60])]


@torch.no_grad()
def test_the_network_may_run_elsewhere_than_the_clip_lies():
    """The meta device stands for a GPU: all that the network is given is there, cut to the region."""
    seen = []

    def unet(x, timestep, states, class_labels):
        seen.append((x.device.type, states.device.type, tuple(x.shape)))
        return x[:, :4]

    text = TextCondition(states(1, 7, 8), states(1, 7, 8))
    latents = torch.zeros(1, 4, 6, 4, 4, device="meta")
    region = (slice(2, 5), slice(0, 2), slice(0, 4))
    predict = guided(unet, text, 2.0, condition=torch.zeros(1, 3, 6, 4, 4), device=torch.device("cpu"))
    with pytest.raises(NotImplementedError):
        predict(latents[(..., *region)], torch.tensor(1), region)  # what lies nowhere cannot be moved
    predict = guided(unet, text, 2.0, condition=torch.zeros(1, 3, 6, 4, 4), device=torch.device("meta"))
    with pytest.raises(NotImplementedError):
        predict(torch.zeros(1, 4, 3, 2, 4), torch.tensor(1), region)
    assert seen == [("meta", "meta", (2, 7, 3, 2, 4))]


# -- progress ----------------------------------------------------------------------------------------------------------


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


def test_progress_between_windows_is_told_and_can_stop_the_step():
    parts, calls = regions((20, 2, 2), spans(20, 8, 2)), []

    def after(timestep):
        calls.append(timestep)
        if len(calls) == 3:
            raise Cancelled("stopped")

    predict = blended(lambda x, t, region: x, parts, (2, 0), after)
    latents = torch.zeros(1, 4, 20, 2, 2)
    predict(latents, torch.tensor(7), WHOLE)
    assert calls == [7.0] * (len(parts) - 1)
    with pytest.raises(Cancelled):
        predict(latents, torch.tensor(7), WHOLE)


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


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != "lcm"])
@pytest.mark.parametrize("steps", [1, 999, 1000])
def test_the_fewest_and_the_most_steps_stay_among_the_timesteps(name, steps):
    schedule = create_schedule(name, steps)
    assert len(schedule) == steps
    assert 0 <= float(schedule.timesteps.min()) <= float(schedule.timesteps.max()) <= 999
    latents = torch.randn(1, 4, 2, 2, 2)
    assert schedule.x0(latents, 0, latents).isfinite().all()
    assert schedule.step(latents, 0, latents, [seeded(0)]).isfinite().all()
