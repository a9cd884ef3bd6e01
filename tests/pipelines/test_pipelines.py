"""The stages on the bundled weights: what comes out, and that it depends only on what it should."""

import numpy as np
import pytest
import torch
from support.images import alike_neighbours

from lab.sprites import caption
from lab.sprites.held_out import held_out_scenes, rendered_clips
from lab.sprites.judge import read
from lavie import CascadePipeline, InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from lavie.config import COLOR_CORRECTIONS
from lavie.errors import Cancelled, LavieError, UsageError
from lavie.job import Job
from lavie.pipelines.text_to_video import sample_text_to_video
from lavie.runtime import storage_device
from lavie.sampling import Known

PROMPT = "a red ball moving left over green grass"
CPU = torch.device("cpu")
EVERYTHING = torch.ones(1, 1, 1, 1, 1)  # a mask: nothing is known


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
    scenes = held_out_scenes(8, seed=77)
    videos = base.generate([caption(scene) for scene in scenes], list(range(8)))
    readings = [read(video.frames) for video in videos]
    backgrounds = sum(r.background == s.background for r, s in zip(readings, scenes, strict=True))
    colours = sum(r.colour == s.colour for r, s in zip(readings, scenes, strict=True))
    assert backgrounds >= 7
    assert colours >= 7


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
    assert alike_neighbours(video.frames) > 0.5


@pytest.mark.parametrize("scheduler", ["ddpm", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lcm"])
def test_every_scheduler_samples_the_base_model(base, scheduler):
    video = base(PROMPT, num_frames=4, num_inference_steps=8, scheduler=scheduler)
    assert alike_neighbours(video.frames) > 0.5


def test_a_negative_prompt_and_the_guidance_scale_change_the_clip(base):
    settings = {"num_frames": 2, "num_inference_steps": 3}
    plain = base(PROMPT, **settings).frames
    assert not np.array_equal(plain, base(PROMPT, negative_prompt="snow", **settings).frames)
    assert not np.array_equal(plain, base(PROMPT, guidance_scale=1.0, **settings).frames)


@pytest.mark.parametrize("scheduler", ["ddpm", "euler"])
def test_the_smaller_the_strength_the_nearer_the_clip_is_to_the_video(base, clip, scheduler):
    def distance(strength):
        settings = {"num_inference_steps": 3, "scheduler": scheduler}
        made = base("a yellow star at night", video=clip[:4], strength=strength, seed=8, **settings).frames
        return np.abs(made.astype(float) - clip[:4]).mean()

    assert distance(0.05) < 0.5 * distance(0.9)


def test_a_video_sets_frames_and_size_and_the_clip_tells_its_strength(base, clip):
    settings = {"num_inference_steps": 1, "strength": 0.5}
    one, two = base.generate([PROMPT, "snow"], [1, 2], video=clip[:3, :40, :48], **settings)
    assert one.frames.shape == two.frames.shape == (3, 40, 48, 3)
    assert one.fps == 8
    stored = {"num_frames": 3, "height": 40, "width": 48, "strength": 0.5}
    assert stored.items() <= one.metadata.items()
    assert "strength" not in base(PROMPT, num_frames=1, num_inference_steps=1).metadata


def test_of_a_size_that_is_not_divisible_by_8_the_middle_is_taken(base, clip):
    settings = {"num_inference_steps": 1, "strength": 0.5}
    made = base(PROMPT, video=clip[:2, :61, :90], **settings).frames
    assert np.array_equal(made, base(PROMPT, video=clip[:2, 2:58, 1:89], **settings).frames)


def test_at_full_strength_a_video_gives_its_size_alone(base, clip):
    settings = {"num_inference_steps": 2, "seed": 4}
    made = base(PROMPT, video=clip[:2, :24, :32], **settings).frames
    assert np.array_equal(made, base(PROMPT, num_frames=2, height=24, width=32, **settings).frames)


@pytest.mark.parametrize("prompt", [caption(held_out_scenes(1, seed=5)[0]), ""])
def test_interpolation_gives_four_times_less_three_frames_that_follow_the_input(interpolation, clip, prompt):
    video = interpolation(clip[:16], prompt, fps=8)
    assert video.frames.shape == (61, 64, 96, 3)
    assert len(video.frames) / video.fps == 16 / 8
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


def test_upscaling_gives_four_times_the_size_and_keeps_the_image(upscaler, clip):
    video = upscaler(clip[:8], PROMPT, fps=24)
    assert video.frames.shape == (8, 256, 384, 3)
    assert video.fps == 24
    small = video.frames.reshape(8, 64, 4, 96, 4, 3).mean(axis=(2, 4))
    assert np.abs(small - clip[:8]).mean() < 12


def test_upscaling_one_chunk_equals_the_official_way_exactly(upscaler, clip):
    settings = {"num_inference_steps": 2, "window": 8}
    blended = upscaler(clip[:8, :24, :24], PROMPT, **settings).frames
    assert np.array_equal(blended, upscaler(clip[:8, :24, :24], PROMPT, chunks="official", **settings).frames)


def test_one_tile_that_covers_the_image_equals_no_tile(upscaler, clip):
    settings = {"num_inference_steps": 2}
    whole = upscaler(clip[:4, :32, :32], PROMPT, **settings).frames
    assert np.array_equal(whole, upscaler(clip[:4, :32, :32], PROMPT, tile=32, tile_overlap=8, **settings).frames)


def test_color_correction_keeps_the_colours_of_every_frame(upscaler, clip):
    small = clip[:5, :24, :24]
    made = {name: upscaler(small, PROMPT, color_correction=name) for name in COLOR_CORRECTIONS}
    assert made["wavelet"].metadata["color_correction"] == "wavelet"
    reduced = {name: video.frames.reshape(5, 24, 4, 24, 4, 3).mean((2, 4)) for name, video in made.items()}
    errors = {name: np.abs(frames - small).mean((1, 2, 3)) for name, frames in reduced.items()}
    assert (errors["wavelet"] < 0.7 * errors["none"]).all()
    with pytest.raises(UsageError, match=r"color correction 'lab'\. Choose none, wavelet"):
        upscaler(small, PROMPT, color_correction="lab")


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


# -- the functions that pipelines and graph nodes share ----------------------------------------------------------------


def sampled(base, seeds=(3,), text=None, **options):
    config = base.stage.config.replaced(num_frames=4, num_inference_steps=options.pop("steps", 4))
    of_job = {"sequential_guidance": options.pop("sequential_guidance", False)}
    job = Job.seeded(base.stage.unet, text or base.stage.embed([PROMPT], ""), config, seeds, CPU, **of_job)
    return sample_text_to_video(job, **options)


def test_the_seeds_make_the_batch_and_guidance_in_halves_gives_the_same(base):
    both = sampled(base, [3, 4])
    assert both.shape == (2, 4, 4, 8, 12)
    for seed, clip in zip((3, 4), both, strict=True):
        torch.testing.assert_close(sampled(base, [seed], sequential_guidance=True)[0], clip, atol=2e-3, rtol=1e-3)


def test_the_smaller_the_strength_the_more_is_kept(base):
    start = sampled(base, steps=10)
    options = {"initial": start, "text": base.stage.embed(["a white star at night"], ""), "steps": 5}
    distances = [(sampled(base, [8], strength=strength, **options) - start).norm() for strength in (0.05, 0.3, 0.8)]
    assert distances == sorted(distances)
    assert distances[0] < 0.5 * distances[2]


def test_latents_to_start_from_set_the_size_and_full_strength_forgets_them(base):
    start = torch.randn(1, 4, 3, 6, 5)
    assert sampled(base, [1, 2], initial=start, strength=0.5).shape == (2, 4, 3, 6, 5)
    known = Known(start, EVERYTHING)
    assert torch.equal(sampled(base, initial=start), sampled(base, known=known))


def test_known_frames_are_kept_bit_for_bit(base):
    kept = sampled(base)
    mask = torch.tensor([0.0, 1.0, 1.0, 0.0])[None, None, :, None, None]
    clip = sampled(base, [9], known=Known(kept, mask))
    assert torch.equal(clip[:, :, [0, 3]], kept[:, :, [0, 3]])
    assert not torch.allclose(clip[:, :, 1:3], kept[:, :, 1:3], atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.5}, "needs latents to start from"),
        ({"strength": 0.0, "initial": torch.zeros(1, 4, 2, 8, 8)}, "above 0"),
        ({"initial": torch.zeros(3, 4, 2, 8, 8)}, "3 clips but 2 seeds"),
        ({"initial": torch.zeros(1, 8, 2, 8, 8)}, "latents are"),
        ({"initial": torch.full((1, 4, 2, 8, 8), torch.inf)}, "infinite"),
        (
            {"initial": torch.zeros(1, 4, 2, 8, 8), "known": Known(torch.zeros(1, 4, 3, 8, 8), EVERYTHING)},
            "differ in frames",
        ),
    ],
)
def test_latents_that_do_not_fit_are_refused_in_a_sentence(base, options, message):
    with pytest.raises(UsageError, match=message):
        sampled(base, [1, 2], **options)


def test_key_frames_in_windows_need_an_overlap(interpolation, clip):
    with pytest.raises(UsageError, match="overlap of 1 or more"):
        interpolation(clip[:9], PROMPT, window=4, overlap=0)
    assert len(interpolation(clip[:3], PROMPT, window=4, overlap=0, num_inference_steps=1).frames) == 9


@pytest.mark.parametrize(
    ("settings", "windows"),
    [
        ({"window": 4, "overlap": 2, "tile": 24, "tile_overlap": 8}, 4 * 2 * 1),
        ({"chunks": "official", "window": 4, "overlap": 2}, 3 + 1),
        ({"window": 0}, 1),
    ],
)
def test_progress_counts_every_window_and_shows_whole_steps(upscaler, clip, settings, windows):
    told = []
    upscaler(clip[:10, :40, :24], PROMPT, callback=lambda *each: told.append(each), num_inference_steps=3, **settings)
    told = [each for each in told if each[0] == "upscaler"]
    assert [each[1:3] for each in told] == [(done, 3 * windows) for done in range(1, 3 * windows + 1)]
    assert sum(each[4] is not None for each in told) == (3 if settings.get("chunks") != "official" else 6)
    assert told[-1][4] is not None


def test_long_clips_lie_in_main_memory_and_end_the_same(upscaler, interpolation, clip, monkeypatch):
    settings = {"window": 4, "overlap": 1, "num_inference_steps": 2}
    before = upscaler(clip[:6, :24, :24], PROMPT, **settings).frames, interpolation(clip[:6], PROMPT, **settings).frames
    asked = []
    monkeypatch.setattr("lavie.job.storage_device", lambda count, device: asked.append(count) or CPU)
    monkeypatch.setattr("lavie.pipelines.stage.storage_device", lambda count, device: asked.append(count) or CPU)
    after = upscaler(clip[:6, :24, :24], PROMPT, **settings).frames, interpolation(clip[:6], PROMPT, **settings).frames
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    video, latents, keys = 3 * 6 * 24 * 24, 4 * 6 * 24 * 24, 4 * 21 * 8 * 12
    assert asked == [video, video, latents, 3 * 6 * 64 * 96, keys]


def test_only_long_clips_lie_elsewhere_than_the_network():
    meta = torch.device("meta")
    assert storage_device(4 * 16 * 320 * 512, meta) == meta
    assert storage_device(4 * 3000 * 320 * 512, meta) == CPU


def test_cancelling_stops_the_pipeline_after_any_window(base, upscaler, clip):
    def cancel(stage, done, *_):
        if done == 2:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        base(PROMPT, callback=cancel)
    with pytest.raises(Cancelled):
        upscaler(clip[:10, :24, :24], PROMPT, window=4, overlap=2, callback=cancel)


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


VIDEO = np.zeros((2, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": 0.5}, "needs a video"),
        ({"video": VIDEO, "strength": 0}, "above 0 and at most 1, not 0"),
        ({"video": VIDEO, "strength": 1.5}, "at most 1, not 1.5"),
        ({"video": VIDEO, "strength": float("nan")}, "not nan"),
        ({"video": VIDEO, "strength": 0.01, "num_inference_steps": 50}, "fewer steps or more strength"),
        ({"video": VIDEO, "num_frames": 2}, "sets the number of frames"),
        ({"video": VIDEO, "width": 16}, "the height and the width"),
        ({"video": VIDEO[:0]}, "at least 1"),
        ({"video": VIDEO[:, :7]}, "too small or too large"),
        ({"video": VIDEO[0]}, "uint8 frames of shape"),
        ({"video": VIDEO / 255}, "uint8 frames of shape"),
        ({"video": np.broadcast_to(VIDEO[:1], (10001, 16, 16, 3))}, "between 1 and 10000, not 10001"),
    ],
)
def test_a_video_or_strength_that_cannot_work_is_refused_before_it_is_encoded(base, settings, message, monkeypatch):
    monkeypatch.setattr("lavie.pipelines.stage.encode_video", lambda *_, **__: pytest.fail("encoded"))
    with pytest.raises(UsageError, match=message) as refusal:
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
