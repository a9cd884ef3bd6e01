"""The stages on the bundled weights: what comes out, and that it depends only on what it should."""

import numpy as np
import pytest
import torch

from lavie import CascadePipeline, InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from lavie.errors import Cancelled, LavieError, UsageError
from lavie.evaluation.judge import read
from lavie.evaluation.synthetic import held_out_scenes, rendered_clips
from lavie.training.synthetic import caption

PROMPT = "a red ball moving left over green grass"


@pytest.fixture(scope="module")
def base():
    return TextToVideoPipeline.from_pretrained("lavie-tiny", device="cpu")


@pytest.fixture(scope="module")
def interpolation():
    return InterpolationPipeline.from_pretrained("lavie-tiny", device="cpu")


@pytest.fixture(scope="module")
def upscaler():
    return UpscalePipeline.from_pretrained("lavie-tiny", device="cpu")


@pytest.fixture(scope="module")
def clip():
    """A rendered clip of 24 frames, 64×96."""
    return next(iter(rendered_clips(held_out_scenes(1, seed=5), 24, 64, 96)))


def seam_ratio(frames, borders):
    """Mean absolute frame difference at window borders ÷ the same elsewhere."""
    change = np.abs(np.diff(frames.astype(float), axis=0)).mean(axis=(1, 2, 3))
    inside = np.delete(change, borders)
    return change[borders].mean() / inside.mean()


def test_the_base_model_shows_the_background_and_the_colour_of_the_prompt(base):
    scenes = held_out_scenes(16, seed=77)
    videos = base.generate([caption(scene) for scene in scenes], list(range(16)))
    readings = [read(video.frames) for video in videos]
    backgrounds = sum(r.background == s.background for r, s in zip(readings, scenes, strict=True))
    colours = sum(r.colour == s.colour for r, s in zip(readings, scenes, strict=True))
    assert backgrounds >= 14
    assert colours >= 11


def test_the_same_seed_gives_the_same_frames_alone_and_in_a_batch(base):
    few = {"num_inference_steps": 3}
    alone = base(PROMPT, seed=7, **few)
    together = base.generate(["a white star at night", PROMPT], [1, 7], **few)
    difference = np.abs(alone.frames.astype(int) - together[1].frames.astype(int))
    assert difference.max() <= 2
    assert np.array_equal(alone.frames, base(PROMPT, seed=7, **few).frames)
    assert not np.array_equal(alone.frames, base(PROMPT, seed=8, **few).frames)


@pytest.mark.parametrize(("num_frames", "height", "width"), [(1, 64, 96), (5, 72, 40), (24, 64, 64)])
def test_the_base_model_makes_any_number_of_frames_at_any_size_divisible_by_8(base, num_frames, height, width):
    video = base(PROMPT, num_frames=num_frames, height=height, width=width, num_inference_steps=2)
    assert video.frames.shape == (num_frames, height, width, 3)
    assert video.frames.dtype == np.uint8
    assert video.frames.std() > 5


@pytest.mark.parametrize("scheduler", ["ddpm", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lcm"])
def test_every_scheduler_samples_the_base_model(base, scheduler):
    video = base(PROMPT, num_frames=4, num_inference_steps=8, scheduler=scheduler)
    assert video.frames.std() > 5


def test_a_negative_prompt_and_the_guidance_scale_change_the_clip(base):
    settings = {"num_frames": 2, "num_inference_steps": 3}
    plain = base(PROMPT, **settings).frames
    assert not np.array_equal(plain, base(PROMPT, negative_prompt="snow", **settings).frames)
    assert not np.array_equal(plain, base(PROMPT, guidance_scale=1.0, **settings).frames)


def test_interpolation_gives_four_times_less_three_frames_that_follow_the_input(interpolation, clip):
    video = interpolation(clip[:16], PROMPT, fps=8)
    assert video.frames.shape == (61, 64, 96, 3)
    assert video.fps == 24
    at_keys = np.abs(video.frames[::4].astype(float) - clip[:16]).mean()
    from_another_time = np.abs(video.frames[::4][::-1].astype(float) - clip[:16]).mean()
    assert at_keys < 20
    assert at_keys < from_another_time


def test_interpolation_windows_leave_no_seam(interpolation, clip):
    video = interpolation(clip, PROMPT, window=10, overlap=3)
    assert len(video.frames) == 4 * 24 - 3
    assert seam_ratio(video.frames, [4 * 7, 4 * 9, 4 * 14, 4 * 16]) <= 1.1


def test_a_size_that_is_not_divisible_by_8_is_interpolated_at_that_size(interpolation, clip):
    video = interpolation(clip[:3, :61, :90], PROMPT, num_inference_steps=2)
    assert video.frames.shape == (9, 61, 90, 3)


def test_upscaling_gives_four_times_the_size_and_keeps_the_picture(upscaler, clip):
    video = upscaler(clip[:8], PROMPT, fps=24)
    assert video.frames.shape == (8, 256, 384, 3)
    assert video.fps == 24
    small = video.frames.reshape(8, 64, 4, 96, 4, 3).mean(axis=(2, 4))
    assert np.abs(small - clip[:8]).mean() < 12


def test_upscaling_one_chunk_equals_the_official_way_exactly(upscaler, clip):
    settings = {"num_inference_steps": 2, "window": 8}
    blended = upscaler(clip[:8, :24, :24], PROMPT, **settings).frames
    assert np.array_equal(blended, upscaler(clip[:8, :24, :24], PROMPT, chunks="official", **settings).frames)


def test_one_tile_that_covers_the_picture_equals_no_tile(upscaler, clip):
    settings = {"num_inference_steps": 2}
    whole = upscaler(clip[:4, :32, :32], PROMPT, **settings).frames
    assert np.array_equal(whole, upscaler(clip[:4, :32, :32], PROMPT, tile=32, tile_overlap=8, **settings).frames)


def test_upscaler_windows_leave_no_seam(upscaler, clip):
    video = upscaler(clip[:20, :40, :48], PROMPT, window=8, overlap=2)
    assert seam_ratio(video.frames, [5, 7, 11, 13]) <= 1.1


def test_the_cascade_makes_61_large_frames_and_records_how(monkeypatch):
    steps = []
    video = CascadePipeline.from_pretrained("lavie-tiny", device="cpu")(
        PROMPT,
        seed=3,
        num_frames=3,
        num_inference_steps=4,
        callback=lambda stage, step, *_: steps.append((stage, step)),
    )
    assert video.frames.shape == (9, 256, 384, 3)
    assert video.metadata["prompt"] == PROMPT
    assert video.metadata["seed"] == 3
    assert set(video.metadata["stages"]) == {"interpolation", "upscaler"}
    assert [step for stage, step in steps if stage == "base"] == [1, 2, 3, 4]
    assert {stage for stage, _ in steps} >= {"base", "interpolation", "upscaler", "upscaler decode"}


def test_cancelling_stops_the_pipeline(base):
    def cancel(*_):
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        base(PROMPT, callback=cancel)


def test_networks_that_produce_nan_are_named(base, monkeypatch):
    broken = torch.full_like(base.stage.unet.conv_out.bias, float("nan"))
    monkeypatch.setattr(base.stage.unet.conv_out, "bias", torch.nn.Parameter(broken))
    with pytest.raises(LavieError, match="base stage"):
        base(PROMPT, num_frames=1, num_inference_steps=1)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_frames": 0},
        {"num_frames": 10**6},
        {"height": 60},
        {"width": 0},
        {"width": 10**6},
        {"num_inference_steps": 0},
        {"num_inference_steps": 1001},
        {"scheduler": "magic"},
        {"spacing": "magic"},
        {"guidance_scale": float("nan")},
        {"seed": -1},
    ],
)
def test_settings_that_cannot_work_are_refused_in_a_sentence(base, settings):
    with pytest.raises(UsageError) as refusal:
        base(PROMPT, **settings)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    "settings", [{"noise_level": 351}, {"chunks": "hard"}, {"window": 2, "overlap": 2}, {"tile": 8, "tile_overlap": 9}]
)
def test_upscaler_settings_that_cannot_work_are_refused(upscaler, clip, settings):
    with pytest.raises(UsageError):
        upscaler(clip, PROMPT, **settings)


def test_a_single_frame_cannot_be_interpolated(interpolation, clip):
    with pytest.raises(UsageError, match="at least 2"):
        interpolation(clip[:1], PROMPT)


def test_an_unknown_model_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="lavie-tiny"):
        CascadePipeline.from_pretrained("no-such-model")
