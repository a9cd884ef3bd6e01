"""Long videos by the base model alone: every method keeps what it promises, and plain clips stay what they are."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.networks import TWO_LEVELS

from lavie import LongVideoPipeline
from lavie.errors import Cancelled, UsageError
from lavie.job import Job
from lavie.knobs import knobs_of
from lavie.long_video import METHODS as EVERY
from lavie.long_video import LongVideoSettings
from lavie.long_video.replacement import continued
from lavie.models import build_unet
from lavie.models.latents import decode_latents, to_uint8
from lavie.pipelines.long_video import check_length
from lavie.pipelines.text_to_video import sample_text_to_video
from lavie.sampling import PromptSchedule, TextCondition, free_init, matched_statistics, seeded
from lavie.sampling.free_init import refined

PROMPT = "a red ball moving left over green grass"
PROMPTS = PromptSchedule.parse(f"0: {PROMPT}, 6: a blue star at night")
UNET = {**TWO_LEVELS, "cross_attention_dim": 128}
WINDOW = 8
SMALL = {"height": 32, "width": 32, "num_inference_steps": 2, "guidance_scale": 1.0}
OWN = {  # FIFO with the fewest evaluations
    "replacement": {"context_frames": 2, "resample": 1, "drift_correction": 0.0, "anchor": 0.0},
    "free_noise": {"context_frames": 6, "motion_injection": False},
    "fifo": {"partitions": 1, "lookahead": True},
    "gen_l_video": {"context_frames": 4},
}
DEVICE = torch.device("cpu")
METHODS = {name: method for name, method in EVERY.items() if not method.stage}  # those of the base alone


@pytest.fixture(scope="module")
def trained():
    """The bundled model with a window of 8 frames."""
    stage = LongVideoPipeline.from_pretrained("lavie-tiny", device="cpu").stage
    return replace(stage, config=stage.config.replaced(num_frames=WINDOW))


@pytest.fixture(scope="module")
def pipeline(trained):
    """The same with a small network that knows nothing."""
    torch.manual_seed(0)
    return LongVideoPipeline(replace(trained, unet=build_unet(UNET)))


@pytest.fixture(scope="module")
def stage(pipeline):
    return pipeline.stage


@pytest.fixture(scope="module")
def text(stage):
    return stage.embed([PROMPT], "")


def job_of(stage, text, seeds=(3,), sequential_guidance=False, callback=None, **settings):
    more = {"sequential_guidance": sequential_guidance, "callback": callback}
    return Job.seeded(stage.unet, text, config(stage, **settings), seeds, DEVICE, **more)


def sampled(method, stage, text, num_frames, **options):
    """Latents by the method's own settings; options: of it, or of `job_of`."""
    own = {name: options.pop(name) for name in knobs_of(LongVideoSettings) if name in options}
    how = METHODS[method].settings(WINDOW, **{**OWN.get(method, {}), **own})
    return METHODS[method].sample(job_of(stage, text, **options), num_frames, how)


def config(stage, **settings):
    return stage.config.replaced(**{**SMALL, **settings})


def clip(stage, text, **settings):
    return sample_text_to_video(job_of(stage, text, **settings))


def video(pipeline, method, num_frames=12, prompt=PROMPT, **settings):
    own = {"partitions": 1} if method == "fifo" else {}
    return pipeline.generate(prompt, num_frames, method, seed=3, **{**SMALL, **own, **settings})


def decoded(stage, latents):
    return to_uint8(decode_latents(stage.vae, latents))[0].permute(1, 2, 3, 0).numpy()


# -- what stays as it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"fifo"}))
@pytest.mark.parametrize("num_frames", [WINDOW, 5])
def test_a_video_of_one_window_is_the_plain_clip_bit_for_bit(stage, text, method, num_frames):
    assert torch.equal(sampled(method, stage, text, num_frames), clip(stage, text, num_frames=num_frames))


@pytest.mark.parametrize("method", ["replacement", "independent"])
def test_a_longer_video_begins_with_the_plain_clip(stage, text, method):
    assert torch.equal(sampled(method, stage, text, 12)[:, :, :WINDOW], clip(stage, text))


def test_the_first_frames_of_fifo_are_near_those_of_the_clip_that_the_queue_began_as(stage, text):
    made, plain = sampled("fifo", stage, text, 2), clip(stage, text)
    other = sampled("fifo", stage, text, 2, seeds=[4])
    assert (made[:, :, 0] - plain[:, :, 0]).abs().mean() < 0.3 * (other[:, :, 0] - plain[:, :, 0]).abs().mean()


def test_one_iteration_of_free_init_is_plain_sampling(stage, text):
    plain = sampled("free_noise", stage, text, 11)
    assert torch.equal(sampled("free_noise", stage, text, 11, free_init_iterations=1), plain)


def test_settings_that_are_off_change_nothing(stage, text):
    plain = sampled("replacement", stage, text, 12)
    off = {"resample": 1, "drift_correction": 0.0, "anchor": 0.0, "motion": 0.0}
    assert torch.equal(sampled("replacement", stage, text, 12, **off), plain)
    more = (continued(job_of(stage, text), plain, 4, LongVideoSettings(4, **settings)) for settings in ({}, off))
    assert torch.equal(*more)


@pytest.mark.parametrize(
    "settings",
    [
        {"resample": 2},
        {"drift_correction": 1.0},
        {"anchor": 0.5},
        {"motion": 3.0},
        {"free_init_iterations": 2},
        {"context_frames": 6},
    ],
    ids=str,
)
def test_settings_that_are_on_change_what_follows(stage, text, settings):
    changed, plain = (sampled("replacement", stage, text, 12, **each) for each in (settings, {}))
    assert changed.isfinite().all()
    assert not torch.allclose(changed[:, :, WINDOW:], plain[:, :, WINDOW:], atol=1e-3)


# -- all methods -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_makes_the_same_video_alone_and_in_a_batch(stage, text, method):
    both = sampled(method, stage, text, 11, seeds=(3, 4))
    assert both.shape == (2, 4, 11, 4, 4)
    assert both.isfinite().all()
    for number, seed in enumerate((3, 4)):
        alone = sampled(method, stage, text, 11, seeds=(seed,))
        torch.testing.assert_close(both[number : number + 1], alone, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_text_for_every_frame_that_never_changes_is_one_text(stage, text, method):
    per_frame = TextCondition.of(text.positive[:, None].expand(-1, 11, -1, -1), text.negative)
    made, expected = (sampled(method, stage, each, 11) for each in (per_frame, text))
    torch.testing.assert_close(made, expected, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("method", METHODS)
def test_frames_are_told_their_own_prompt(pipeline, stage, text, method):
    """The last frames change with the second prompt; the first ones less, or not at all where they come first."""
    changing = pipeline._text(PROMPTS, "", 12, 0)
    change = (sampled(method, stage, changing, 12) - sampled(method, stage, text, 12)).abs().mean((0, 1, 3, 4))
    assert change[10:].mean() > 2 * change[:4].mean()


@pytest.mark.parametrize("method", METHODS)
def test_a_video_has_its_frames_and_tells_how_it_was_made(pipeline, stage, method):
    made = video(pipeline, method, prompt=PROMPTS, transition=2)
    assert made.frames.shape == (12, 32, 32, 3)
    assert made.frames.dtype == np.uint8
    assert np.array_equal(made.frames, decoded(stage, sampled(method, stage, pipeline._text(PROMPTS, "", 12, 2), 12)))
    assert made.fps == 8
    settings = {"seed": 3, "method": method, "transition": 2, "num_frames": 12, "motion": 0.0, **OWN.get(method, {})}
    settings = {**settings, "prompt": str(PROMPTS), "model": "lavie-tiny", "height": 32}
    assert settings.items() <= made.metadata.items()
    assert PromptSchedule.parse(made.metadata["prompt"]) == PROMPTS


def test_frames_are_those_of_the_latents(pipeline, stage, text):
    latents = sampled("free_noise", stage, text, 12)
    assert np.array_equal(video(pipeline, "free_noise").frames, decoded(stage, latents))


EVALUATIONS = {
    "replacement": (2 * 2, {}),
    "free_noise": (2, {}),
    "free_long": (2, {}),
    "fifo": (2 + 12 * 2, {}),
    "independent": (2 * 2, {}),
    "gen_l_video": (2 * 2, {}),
    "replacement, resampled": (2 + 3 * 2, {"resample": 3}),
    "replacement, refined": (2 * 2 * 2, {"free_init_iterations": 2}),
    "gen_l_video, refined": (2 * 2 * 2, {"free_init_iterations": 2}),
    "fifo, without lookahead": (2 + (8 + 12) * 2, {"partitions": 2, "lookahead": False}),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_progress_is_told_after_every_evaluation_of_the_network(stage, text, name):
    total, settings = EVALUATIONS[name]
    told, calls = [], []
    counting = stage.unet.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        method = name.split(",")[0]
        sampled(method, stage, text, 12, callback=lambda *step: told.append(step[:3]), **settings)
    finally:
        counting.remove()
    assert told == [("base", done, total) for done in range(1, total + 1)]
    assert len(calls) == total


@pytest.mark.parametrize("method", METHODS)
def test_cancelling_stops_before_the_next_evaluation(pipeline, method):
    calls = []

    def cancel(stage, done, *_):
        calls.append(done)
        if done == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        video(pipeline, method, callback=cancel)
    assert calls == [1, 2]


def test_halves_of_the_guidance_in_turn_make_the_same_video(stage, text):
    together, in_turn = (
        sampled("free_noise", stage, text, 11, sequential_guidance=each, guidance_scale=3.0) for each in (False, True)
    )
    assert not torch.allclose(together, sampled("free_noise", stage, text, 11), atol=1e-3)
    torch.testing.assert_close(together, in_turn, atol=5e-3, rtol=5e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_network_sees_a_window_at_a_time_or_all_frames_in_one_pass(stage, text, method):
    seen = []
    watching = stage.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[2]))
    try:
        sampled(method, stage, text, 20)
    finally:
        watching.remove()
    assert max(seen) == (20 if METHODS[method].one_pass else WINDOW)


@pytest.mark.parametrize("method", METHODS)
def test_only_what_is_made_in_one_pass_is_too_long_at_ten_thousand_frames(stage, method):
    check = lambda: check_length(METHODS[method], stage.unet, config(stage), 10_000)  # noqa: E731
    if METHODS[method].one_pass:
        constant = r"same memory for any length: conditioned, replacement, fifo, independent, gen_l_video\."
        with pytest.raises(UsageError, match=constant):
            check()
    else:
        check()


# -- what the methods are for ------------------------------------------------------------------------------------------


def test_windows_leave_no_hard_cut(trained, text):
    """At frame 8 an independent clip begins; in one pass with shared windows no frame stands out like that."""
    steps = {}
    for method in ("independent", "free_noise", "replacement"):
        latents = sampled(method, trained, text, 16, num_inference_steps=6, guidance_scale=3.0)
        steps[method] = latents.diff(dim=2).abs().mean((0, 1, 3, 4))
    cut = steps["independent"][WINDOW - 1]
    print({method: [round(float(each), 3) for each in step] for method, step in steps.items()})
    assert cut > 1.5 * steps["independent"][: WINDOW - 1].mean()
    assert steps["free_noise"].max() < cut
    assert steps["replacement"][WINDOW - 1] < cut


# -- refined noise and matched statistics ------------------------------------------------------------------------------


def test_refined_noise_has_the_spread_of_noise_and_the_low_frequencies_of_the_clip():
    noise, fresh = (torch.randn(1, 4, 16, 16, 16, generator=seeded(seed)) for seed in (1, 2))
    starts = []
    free_init(lambda start: starts.append(start) or 3 + 0 * start, noise, [seeded(3)], 3)
    assert len(starts) == 3
    assert torch.equal(starts[0], noise)
    for start in starts[1:]:
        assert start.std().item() == pytest.approx(1, abs=0.1)
        torch.testing.assert_close(start.mean((2, 3, 4)), noise.mean((2, 3, 4)), atol=0.05, rtol=0)
    everything, nothing = torch.ones(16, 16, 16), torch.zeros(16, 16, 16)
    torch.testing.assert_close(refined(noise, noise, fresh, nothing), fresh, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(refined(0 * noise, noise, fresh, everything), noise, atol=1e-3, rtol=1e-3)


def test_matched_statistics_are_those_of_the_reference():
    latents = 3 + 2 * torch.randn(2, 4, 5, 6, 7, generator=seeded(1))
    reference = torch.randn(2, 4, 9, 6, 7, generator=seeded(2))
    assert matched_statistics(latents, reference, 0.0) is latents
    for strength, close in ((1.0, reference), (0.5, None)):
        made = matched_statistics(latents, reference, strength)
        if close is not None:
            torch.testing.assert_close(made.mean((2, 3, 4)), close.mean((2, 3, 4)), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(made.std((2, 3, 4)), close.std((2, 3, 4)), atol=1e-2, rtol=1e-2)
        else:
            halfway = (latents.mean((2, 3, 4)) + reference.mean((2, 3, 4))) / 2
            torch.testing.assert_close(made.mean((2, 3, 4)), halfway, atol=1e-5, rtol=1e-5)
    flat = torch.ones(1, 4, 2, 3, 3)
    assert matched_statistics(flat, reference[:1]).isfinite().all()


def test_what_grew_soft_is_as_sharp_again_as_the_reference():
    reference = torch.randn(2, 4, 5, 16, 24, generator=seeded(2))
    coarse = torch.nn.functional.avg_pool3d(reference, (1, 4, 4)).repeat_interleave(4, 3).repeat_interleave(4, 4)
    soft = coarse / coarse.std() * reference.std() + 0.1 * reference  # the contrast is right, the detail faint

    def sharpness(clip):
        return clip.diff(dim=3).std((2, 3, 4)) / clip.std((2, 3, 4))

    before, after = (
        (sharpness(clip) / sharpness(reference)).log() for clip in (soft, matched_statistics(soft, reference))
    )
    assert (before < -0.4).all()
    assert (after.abs() < 0.6 * before.abs()).all()


def test_drift_correction_brings_new_frames_to_the_statistics_of_the_first_window(stage, text):
    made = sampled("replacement", stage, text, 14, drift_correction=1.0)
    first, new = made[:, :, :WINDOW], made[:, :, WINDOW:]
    torch.testing.assert_close(new.mean((2, 3, 4)), first.mean((2, 3, 4)), atol=1e-4, rtol=1e-4)


def test_an_anchor_brings_new_frames_nearer_to_the_first_one(stage, text):
    plain, held = (sampled("replacement", stage, text, 14, anchor=strength) for strength in (0.0, 1.0))
    assert torch.equal(held[:, :, :WINDOW], plain[:, :, :WINDOW])
    far, near = ((made[:, :, WINDOW:] - made[:, :, :1]).mean((3, 4)).abs().mean() for made in (plain, held))
    assert near < far


def test_motion_injection_keeps_later_frames_nearer_to_the_first_prompt(stage, pipeline, text):
    changing = pipeline._text(PROMPTS, "", 12, 0)
    one, plain, injected = (
        sampled("free_noise", stage, each, 12, motion_injection=injection)
        for each, injection in ((text, False), (changing, False), (changing, True))
    )
    away = [(made - one)[:, :, 8:].abs().mean() for made in (injected, plain)]
    assert 0 < away[0] < away[1]
    assert torch.equal(sampled("free_noise", stage, text, 12, motion_injection=True), one)


# -- what cannot work --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magic"}, "Unknown method 'magic'. Choose one of: conditioned, replacement, free_noise"),
        ({"method": "fifo", "resample": 2}, "'fifo' has no setting resample. Leave it out, or choose: replacement"),
        ({"method": "independent", "context_frames": 4}, "choose: conditioned, replacement, free_noise"),
        ({"num_frames": 0}, "number of frames"),
        ({"num_frames": 20_000}, "number of frames"),
        (
            {"num_frames": 10_000, "method": "free_long"},
            "10000 frames in one pass would take .* GB .* replacement, fifo",
        ),
        ({"height": 36}, "height must be divisible by 8"),
        ({"seed": -1}, "seed must be"),
        ({"context_frames": 8}, "between 1 and 7"),
        ({"method": "conditioned", "context_frames": 2}, "set the context to 1"),
        ({"method": "free_noise", "context_frames": 8}, "cannot move"),
        ({"resample": 0}, "resample must be between 1 and 20, not 0"),
        ({"drift_correction": 1.5}, "drift correction must be between 0 and 1, not 1.5"),
        ({"anchor": 1.5}, "anchor must be between 0 and 1"),
        ({"method": "free_noise", "anchor": 0.5}, "has no setting anchor. Leave it out, or choose: conditioned, repl"),
        ({"motion_injection": True}, "'replacement' has no setting motion_injection. Leave it out, or choose: free_"),
        ({"motion": -1.0}, "motion must be between 0 and 20, not -1"),
        ({"free_init_iterations": -1}, "free init iterations must be between 1 and 10, not -1"),
        ({"method": "fifo", "partitions": 0}, "partitions must be between 1 and 64, not 0"),
        ({"method": "fifo", "partitions": 126}, "partitions must be between 1 and 64, not 126"),
        ({"prompt": PROMPTS, "num_frames": 6}, "begins at frame 6, but there are 6 frames"),
        ({"prompt": PROMPTS, "transition": -1}, "transition must be between 0 and 10000, not -1"),
    ],
)
def test_what_cannot_be_made_is_refused_before_any_work(pipeline, settings, message):
    calls = []
    counting = pipeline.stage.unet.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        with pytest.raises(UsageError, match=message):
            pipeline(**{"prompt": PROMPT, "num_frames": 20, "method": "replacement", **SMALL, **settings})
    finally:
        counting.remove()
    assert not calls


def test_prompts_for_another_number_of_frames_are_refused(pipeline, stage):
    changing = pipeline._text(PROMPTS, "", 24, 0)
    with pytest.raises(UsageError, match="prompts for 24 frames, but the video has 20"):
        sampled("free_long", stage, changing, 20)
    with pytest.raises(UsageError, match="prompts for 24 frames, but the video has 20"):
        continued(job_of(stage, changing), torch.zeros(1, 4, 16, 4, 4), 4, LongVideoSettings(4))
