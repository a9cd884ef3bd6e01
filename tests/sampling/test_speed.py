"""Fast mode: every knob leaves out what it says, in every network, region and run; "exact" leaves out nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.guidance import guided
from support.images import alike_neighbours

from lavie import InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from lavie.config import RELEASED_STAGES, StageConfig, find_family
from lavie.errors import LavieError, UsageError
from lavie.models import UNetConfig, build_unet
from lavie.models.deep_feature import DeepFeature
from lavie.runtime.device import MAX_ELEMENTS
from lavie.runtime.estimate import Execution, Weights, Workload, denoising_bytes, kept_bytes, kept_channels
from lavie.sampling import TextCondition, blended, create_schedule, denoise, draw_noise, regions, seeded, spans
from lavie.sampling import step_cache as step_cache_module
from lavie.sampling.denoise import WHOLE
from lavie.sampling.guidance_interval import in_interval
from lavie.sampling.step_cache import StepCache, StepCaches
from lavie.speed import EXACT, SPEEDS, Speed, speed_of
from lavie.stages import STAGES

PROMPT = "a red ball moving left over green grass"
SMALL = {
    "block_out_channels": [32, 32, 64],
    "down_block_types": ["CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"],
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"],
    "attention_head_dim": 1,
    "cross_attention_dim": 8,
    "norm_num_groups": 8,
    "layers_per_block": 2,
}
NETWORKS = {
    "base": {**SMALL, "in_channels": 4},
    "interpolation": {**SMALL, "in_channels": 8, "use_first_frame": True},
    "upscaler": {
        **SMALL,
        "in_channels": 7,
        "use_linear_projection": True,
        "only_cross_attention": [True, True, False],
        "num_class_embeds": 60,
        "temporal_module_config": {},
    },
}


@pytest.fixture(scope="module", params=NETWORKS)
def unet(request):
    torch.manual_seed(0)
    return build_unet(NETWORKS[request.param]).eval()


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    return build_unet(NETWORKS["base"]).eval()


def labels_of(unet, batch):
    return torch.full((batch,), 50) if unet.config.num_class_embeds else None


def evaluate(unet, batch=2, frames=3, height=7, width=5, timestep=500, deep=None, seed=1):
    sample = torch.randn(batch, unet.config.in_channels, frames, height, width, generator=seeded(seed))
    states = torch.randn(batch, 6, 8, generator=seeded(2))
    more = {} if deep is None else {"deep": deep}
    return unet(sample, torch.tensor(timestep), states, class_labels=labels_of(unet, batch), **more)


TEXT = TextCondition(torch.randn(1, 6, 8, generator=seeded(3)), torch.randn(1, 6, 8, generator=seeded(4)))


class Counting:
    """A network that notes every call: how many clips, and whether it ran whole ("full"), shallow or "plain"."""

    def __init__(self, unet):
        self.unet, self.calls = unet, []

    def __call__(self, x, timestep, states, class_labels=None, deep=None):
        kind = "plain" if deep is None else "full" if deep.value is None else "shallow"
        self.calls.append((len(x), kind))
        options = {} if deep is None else {"deep": deep}
        return self.unet(x, timestep, states, class_labels=class_labels, **options)


def run(unet, speed, steps=6, scale=3.0, frames=4, parts=None, overlap=0, **options):
    predict = guided(unet, TEXT, scale, speed=speed, **options)
    predict = predict if parts is None else blended(predict, parts, (overlap, overlap))
    noise = draw_noise((4, frames, 6, 6), [seeded(1)])
    return denoise(predict, noise, create_schedule("ddim", steps), [seeded(2)])


# -- the deep feature --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (1, 3)])
@torch.no_grad()
def test_with_its_own_deep_feature_the_shallow_network_predicts_the_same_to_the_bit(unet, depth, height, width):
    plain = evaluate(unet, height=height, width=width)
    deep = DeepFeature(depth)
    assert torch.equal(evaluate(unet, height=height, width=width, deep=deep), plain)
    assert deep.value.shape[0] == 2 * 3
    assert deep.value.shape[2:] == (height, width)
    assert torch.equal(evaluate(unet, height=height, width=width, deep=deep), plain)


@torch.no_grad()
def test_a_shallow_evaluation_runs_no_deep_layer_and_sees_its_own_input(unet):
    deep = DeepFeature(1)
    first = evaluate(unet, deep=deep)
    ran = []
    hooks = [
        module.register_forward_hook(lambda module, *_: ran.append(module))
        for module in (*unet.down_blocks[1:], unet.mid_block, *unet.up_blocks[:-1], *unet.down_blocks[0].resnets)
    ]
    other = evaluate(unet, seed=9, deep=deep)
    for hook in hooks:
        hook.remove()
    assert ran == []
    assert not torch.allclose(other, first, atol=1e-2)
    assert not torch.allclose(other, evaluate(unet, seed=9), atol=1e-3)


# -- what is left out --------------------------------------------------------------------------------------------------


def test_by_default_the_network_is_called_as_ever(base):
    counting = Counting(base)
    run(counting, EXACT, steps=3)
    assert counting.calls == [(2, "plain")] * 3


def test_outside_its_interval_guidance_costs_nothing(base):
    counting = Counting(base)
    early = run(counting, Speed(guidance_from=0.3, guidance_until=0.7), steps=10)
    assert [clips for clips, _ in counting.calls] == [1, 1, 1, 2, 2, 2, 2, 1, 1, 1]
    assert not torch.allclose(early, run(base, EXACT, steps=10), atol=1e-3)
    never = run(base, Speed(guidance_from=0.999, guidance_until=0.9999))
    assert torch.equal(never, run(base, EXACT, scale=1.0))


@pytest.mark.parametrize("timestep", [0, 500, 999, 999.5])
def test_the_whole_interval_holds_every_timestep(timestep):
    assert in_interval(timestep, 0.0, 1.0)
    assert not in_interval(timestep, 0.7, 0.8)


def test_between_steps_with_both_halves_the_last_difference_stands_in(base):
    counting = Counting(base)
    run(counting, Speed(guidance_every=3), steps=7)
    assert [clips for clips, _ in counting.calls] == [2, 1, 1, 2, 1, 1, 2]


def test_a_difference_that_does_not_change_may_be_reused():
    """Of a network whose halves differ by a constant, the guided prediction is exact."""

    def network(x, timestep, states, class_labels=None):
        return 0.1 * x + states.mean((1, 2))[:, None, None, None, None]

    torch.testing.assert_close(run(network, Speed(guidance_every=4)), run(network, EXACT), atol=1e-5, rtol=1e-5)


def test_at_most_steps_only_the_shallow_layers_run(base):
    counting = Counting(base)
    run(counting, Speed(full_every=3), steps=7)
    assert counting.calls == [(2, "full"), *[(2, "shallow")] * 2] * 2 + [(2, "full")]


def test_halves_that_are_evaluated_apart_use_the_same_steps(base):
    for speed in (Speed(full_every=2), Speed(full_every=3, guidance_every=2), Speed(full_every=2, guidance_until=0.6)):
        together, apart = Counting(base), Counting(base)
        results = run(together, speed), run(apart, speed, sequential_guidance=True)
        torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)
        assert [kind for clips, kind in together.calls for _ in range(clips)] == [kind for _, kind in apart.calls]


def test_a_half_without_a_recent_feature_makes_the_whole_network_run(base):
    """The negative half is evaluated at steps 0, 2, 4; its feature of step 0 is too old at step 4."""
    counting = Counting(base)
    run(counting, Speed(full_every=3, guidance_every=2), steps=5)
    assert counting.calls == [(2, "full"), (1, "shallow"), (2, "shallow"), (1, "full"), (2, "full")]


def test_every_region_has_a_cache_of_its_own(base):
    parts = regions((6, 6, 6), spans(6, 4, 1), tile=4, tile_overlap=2)
    counting = Counting(base)
    run(counting, Speed(full_every=2), steps=4, frames=6, parts=parts, overlap=1)
    kinds = [kind for _, kind in counting.calls]
    assert kinds == (["full"] * len(parts) + ["shallow"] * len(parts)) * 2
    same = run(base, EXACT, steps=1, frames=6, parts=parts, overlap=1)
    assert torch.equal(run(base, Speed(full_every=2), steps=1, frames=6, parts=parts, overlap=1), same)


def test_a_clip_of_a_batch_is_what_it_is_alone(base):
    noise = draw_noise((4, 4, 6, 6), [seeded(1), seeded(5)])
    speed = Speed(full_every=2, guidance_every=2)

    def made(noise):
        return denoise(
            guided(base, TEXT, 3.0, speed=speed), noise, create_schedule("ddim", 4), [seeded(0)] * len(noise)
        )

    alone = torch.cat([made(clip[None]) for clip in noise])
    torch.testing.assert_close(made(noise), alone, atol=1e-4, rtol=1e-4)


def test_another_run_begins_anew(base):
    predict = guided(base, TEXT, 3.0, speed=Speed(full_every=4, guidance_every=4))
    noise, schedule = draw_noise((4, 4, 6, 6), [seeded(1)]), create_schedule("ddim", 3)
    first, again = (denoise(predict, noise, schedule, [seeded(2)]) for _ in range(2))
    assert torch.equal(first, again)


def test_frames_with_noise_levels_of_their_own_leave_nothing_out(base):
    latents, timesteps = draw_noise((4, 4, 6, 6), [seeded(1)]), torch.tensor([[100, 300, 500, 700]])
    counting = Counting(base)
    predict = guided(counting, TEXT, 3.0, speed=Speed(full_every=2, guidance_every=2, guidance_until=0.1))
    exact = guided(base, TEXT, 3.0)(latents, timesteps, WHOLE)
    assert all(torch.equal(predict(latents, timesteps, WHOLE), exact) for _ in range(2))
    assert counting.calls == [(2, "plain")] * 2


def test_a_cache_forgets_what_is_old():
    caches, region = StepCaches(), WHOLE
    cache = caches.at(region, 900.0)
    cache.keep("x", torch.ones(1))
    assert cache.recent("x", 1) is not None
    assert caches.at(region, 800.0) is cache
    assert cache.recent("x", 1) is None
    assert cache.recent("x", 2) is not None
    assert cache.recent("y", 2) is None
    assert caches.at((slice(0, 2), *region[1:]), 800.0).recent("x", 2) is None
    assert caches.at(region, 800.0).recent("x", 2) is None
    assert StepCache().recent("x", 1) is None


# -- the memory of what is kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
@torch.no_grad()
def test_the_estimate_knows_how_wide_the_kept_feature_is(depth):
    torch.manual_seed(0)
    unet = build_unet({**NETWORKS["base"], "block_out_channels": [32, 64, 64]}).eval()
    deep = DeepFeature(depth)
    evaluate(unet, deep=deep)
    assert deep.value.shape[1] == kept_channels(unet.config, Speed(full_every=2, depth=depth))
    assert kept_channels(unet.config, EXACT) == 0


@pytest.mark.parametrize(("window", "overlap", "tile", "tile_overlap"), [(0, 0, 0, 0), (3, 1, 0, 0), (3, 1, 4, 2)])
def test_the_estimate_counts_what_all_windows_and_tiles_keep(base, monkeypatch, window, overlap, tile, tile_overlap):
    kept, keep = {}, StepCache.keep

    def noting(cache, name, tensor):
        keep(cache, name, tensor)
        kept[cache.region, name] = tensor.numel()

    monkeypatch.setattr(StepCache, "keep", noting)
    frames, side = 5, 6
    parts = regions((frames, side, side), spans(frames, window or frames, overlap), tile or None, tile_overlap)
    speed = Speed(full_every=2)
    run(base, speed, steps=2, frames=frames, parts=parts, overlap=overlap)
    work = Workload(STAGES["base"], base.config, Weights(0, 0, 0, 0), 1, frames, side, side, 4, 8, 32, False, "cpu")
    execution = Execution(True, window=window, overlap=overlap, tile=tile, tile_overlap=tile_overlap)
    execution = replace(execution, kept_channels=kept_channels(base.config, speed))
    assert kept_bytes(work, execution) == 4 * sum(kept.values())
    without = denoising_bytes(work, replace(execution, kept_channels=0))
    assert denoising_bytes(work, execution) - without == kept_bytes(work, execution)


def test_a_device_holds_no_more_than_a_clip_may_take_whatever_the_number_of_tiles(monkeypatch):
    """Each tile's feature is small enough to lie there; together they would fill the card."""
    asked, caches = [], StepCaches()
    monkeypatch.setattr(step_cache_module, "storage_device", lambda n, device: asked.append(n) or torch.device("cpu"))
    for timestep in (900.0, 800.0):
        for first in range(4):
            caches.at((slice(first, first + 1), *WHOLE[1:]), timestep).keep("x", torch.zeros(4))
    assert asked == [4, 8, 12, 16] + 4 * [16]
    work = Workload(STAGES["upscaler"], UNetConfig(), Weights(0, 0, 0, 0), 1, 61, 320, 512, 2, 4, 128, False, "cuda")
    assert kept_bytes(work, Execution(kept_channels=256, tile=128, tile_overlap=32)) == 2 * MAX_ELEMENTS


# -- presets and settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", RELEASED_STAGES)
@pytest.mark.parametrize("family", ["released", "lavie-tiny"])
def test_every_preset_fits_every_stage(family, stage):
    config = RELEASED_STAGES[stage] if family == "released" else find_family(family).stage(stage)
    assert config.at_speed(stage, "exact") == config
    for name in SPEEDS:
        fast = config.at_speed(stage, name)
        assert fast.speed == speed_of(stage, name)
        assert fast.speed.metadata() == name
        schedule = create_schedule(fast.scheduler, fast.num_inference_steps, fast.spacing, fast.prediction_type)
        assert 1 <= len(schedule) <= config.num_inference_steps


def test_what_is_asked_for_goes_on_top_of_a_preset():
    config = RELEASED_STAGES["base"].at_speed("base", Speed(steps=0.3, scheduler="unipc"))
    assert (config.num_inference_steps, config.scheduler) == (15, "unipc")
    karras = RELEASED_STAGES["base"].replaced(scheduler="euler", spacing="karras")
    assert karras.at_speed("base", Speed(scheduler="ddim")).spacing == "default"
    assert karras.at_speed("base", Speed(steps=0.5)).spacing == "karras"
    own = config.replaced(num_inference_steps=40, scheduler="euler")
    assert (own.num_inference_steps, own.scheduler, own.speed.steps) == (40, "euler", 0.3)
    assert RELEASED_STAGES["base"].replaced(num_inference_steps=1).at_speed("base", "fast").num_inference_steps == 1


def test_what_no_speed_can_be_is_refused():
    for wrong in (
        {"steps": 0},
        {"steps": 1.5},
        {"guidance_from": 0.8, "guidance_until": 0.2},
        {"full_every": 0},
        {"vae_keys": -1},
    ):
        with pytest.raises(UsageError):
            Speed(**wrong)
    with pytest.raises(UsageError, match="exact, balanced, fast"):
        speed_of("base", "faster")
    with pytest.raises(LavieError, match="speed"):
        StageConfig.from_dict({"unet": "", "vae": "", "text_encoder": "", "tokenizer": "", "speed": {}})


def test_ones_own_speed_is_told_in_full_and_a_preset_by_its_name():
    assert Speed(full_every=2, guidance_until=0.5).metadata() == {"full_every": 2, "guidance_until": 0.5}
    assert replace(EXACT, name="").metadata() == {}


# -- the stages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text_to_video():
    return TextToVideoPipeline.from_pretrained("lavie-tiny", device="cpu")


def test_exact_is_the_default_to_the_bit_and_presets_are_told(text_to_video):
    small = {"num_frames": 3, "height": 32, "width": 48}
    plain = text_to_video(PROMPT, num_inference_steps=4, **small)
    made = {name: text_to_video(PROMPT, num_inference_steps=4, speed=name, **small) for name in SPEEDS}
    assert np.array_equal(made["exact"].frames, plain.frames)
    assert plain.metadata == made["exact"].metadata
    assert {name: video.metadata["speed"] for name, video in made.items()} == {name: name for name in SPEEDS}
    assert np.array_equal(made["balanced"].frames, plain.frames)  # with as many steps of the model's own solver
    assert not np.array_equal(made["fast"].frames, plain.frames)
    assert made["fast"].metadata["num_inference_steps"] == 4
    own = text_to_video(PROMPT, speed=Speed(steps=0.1), **small)
    assert (own.metadata["num_inference_steps"], own.metadata["speed"]) == (2, {"steps": 0.1})
    assert json.loads(json.dumps(own.metadata)) == own.metadata


@pytest.mark.parametrize("pipeline", [InterpolationPipeline, UpscalePipeline])
def test_the_later_stages_leave_out_what_they_are_told_in_windows(pipeline):
    stage = pipeline.from_pretrained("lavie-tiny", device="cpu")
    frames = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), dtype=np.uint8)
    settings = {"window": 3, "overlap": 1, "num_inference_steps": 2, "guidance_scale": 2.0}
    exact = stage(frames, PROMPT, **settings)
    cached = stage(frames, PROMPT, speed=Speed(full_every=2, guidance_every=2), **settings)
    assert cached.frames.shape == exact.frames.shape
    assert 0 < np.abs(cached.frames.astype(int) - exact.frames).mean() < 60
    assert np.array_equal(stage(frames, PROMPT, speed="exact", **settings).frames, exact.frames)


def test_lcm_takes_few_steps_with_little_guidance(text_to_video):
    few = {"scheduler": "lcm", "num_inference_steps": 4, "num_frames": 3, "height": 32, "width": 48}
    clips = [text_to_video(PROMPT, seed=3, guidance_scale=scale, **few) for scale in (1.0, 1.5)]
    assert [clip.metadata["guidance_scale"] for clip in clips] == [1.0, 1.5]
    assert alike_neighbours(clips[0].frames) > 0.5
    assert not np.array_equal(clips[0].frames, clips[1].frames)
