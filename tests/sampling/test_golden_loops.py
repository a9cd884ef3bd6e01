"""Our loop, guidance and schedules reproduce the official sampling runs, latents after every step."""

import pytest
import torch
from support.guidance import guided
from support.reference import relative_error, schedules

from lavie.models import build_unet
from lavie.models.latents import decode_latents, encode_video, to_uint8
from lavie.models.vae import load_vae
from lavie.sampling import TextCondition, create_schedule, denoise
from lavie.sampling.conditioning import key_frame_of
from lavie.sampling.schedule import alphas_cumprod

TOLERANCE = 1e-3


def network(golden, loop):
    file = golden(loop.sidecar["unet_fixture"])
    unet = build_unet(file.config).eval()
    unet.load_state_dict(file.weights, strict=True)
    return unet


class RecordedNoise:
    """Feeds a scheduler the Gaussian draws of the official run, in their order."""

    def __init__(self, draws, monkeypatch, module):
        self.draws = iter(draws)
        monkeypatch.setattr(f"diffusers.schedulers.{module}.randn_tensor", lambda *args, **kwargs: next(self.draws))


def run(unet, text, guidance_scale, noise, schedule, expected, **conditions):
    latents = denoise(guided(unet, text, guidance_scale, **conditions), noise, schedule, [torch.Generator()])
    error = relative_error(latents, expected[-1])
    print(f"final latents: {error:.1e}")
    assert error <= TOLERANCE


@pytest.mark.parametrize(("name", "recorded"), [("ddim", "ddim"), ("ddpm", "ddpm"), ("euler", "eulerdiscrete")])
def test_base_sampling_ends_where_the_official_pipeline_ends(golden, monkeypatch, name, recorded):
    loop = golden("loop_base")
    if name == "ddpm":
        RecordedNoise(loop["in/ddpm.noise"], monkeypatch, "scheduling_ddpm")
    text = TextCondition(loop["in/prompt_embeds"], loop["in/negative_prompt_embeds"])
    schedule = create_schedule(name, 5)
    assert schedule.timesteps.tolist() == loop.sidecar["runs"][recorded]["timesteps"]
    run(network(golden, loop), text, 7.5, loop["in/initial_noise"], schedule, loop[f"out/{recorded}.latents"])


def test_interpolation_sampling_ends_where_the_official_loop_ends(golden):
    loop = golden("loop_interpolation")
    positive, negative = loop["in/text_cond_uncond"].split(1)
    schedule = create_schedule("ddim", 5, spacing="linspace")
    assert schedule.timesteps.tolist() == loop.sidecar["timesteps_seen_by_the_model"]
    run(
        network(golden, loop),
        TextCondition(positive, negative),
        4.0,
        loop["in/initial_noise"],
        schedule,
        loop["out/latents"],
        condition=loop["out/condition_latents"],
    )


@pytest.mark.parametrize("name", ["ddpm_onelast1", "ddim_first1"])
def test_mask_conditioned_sampling_ends_where_the_official_loop_ends(golden, monkeypatch, name):
    loop = golden("loop_seine")
    scheduler = name.split("_")[0]
    settings = {"variance_type": "fixed_large"} if scheduler == "ddpm" else {}
    if scheduler == "ddpm":
        RecordedNoise(loop[f"in/{name}.step_noise"], monkeypatch, "scheduling_ddpm")
    positive, negative = loop["in/text_cond_uncond"].split(1)
    condition = torch.cat((loop[f"out/{name}.mask"], loop[f"out/{name}.masked_latents"]), dim=1)
    run(
        network(golden, loop),
        TextCondition(positive, negative),
        8.0,
        loop[f"in/{name}.initial_noise"],
        create_schedule(scheduler, 5, spacing="linspace", **settings),
        loop[f"out/{name}.latents"],
        condition=condition,
    )


def test_upscaler_sampling_ends_where_the_official_chunks_end(golden):
    loop = golden("loop_vsr")
    unet = network(golden, loop)
    negative, positive = loop["in/text_neg_pos"].split(1)
    for chunk, frames in enumerate((slice(0, 8), slice(8, 11))):
        assert [frames.start, frames.stop] == loop.sidecar["chunks"][chunk]
        schedule = create_schedule("ddim", 4, prediction_type="v_prediction")
        assert schedule.timesteps.tolist() == loop.sidecar["timesteps"]
        run(
            unet,
            TextCondition(positive, negative),
            5.0,
            loop[f"in/chunk{chunk}.initial_noise"],
            schedule,
            loop[f"out/chunk{chunk}.latents"],
            condition=loop[f"out/chunk{chunk}.low_res_noised"],
            class_labels=torch.tensor([50]),
        )


@pytest.mark.parametrize(("name", "official"), [("ddpm", "ddpm"), ("ddim", "ddim"), ("euler", "eulerdiscrete")])
@pytest.mark.parametrize("steps", [5, 20, 50])
def test_the_timesteps_are_those_of_the_diffusers_that_lavie_pins(name, official, steps):
    expected = schedules()["diffusers_0.16.0"][f"base.{official}.{steps}"]["timesteps"]
    assert create_schedule(name, steps).timesteps.tolist() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("steps", [5, 10, 25, 50, 100, 250])
def test_linspace_spacing_visits_the_official_interpolation_timesteps(steps):
    expected = schedules()["interpolation_and_seine"][str(steps)]
    assert create_schedule("ddim", steps, spacing="linspace").timesteps.tolist() == expected


def test_the_betas_are_truly_linear():
    expected = schedules()["diffusers_0.16.0"]["base.alphas_cumprod"]
    for timestep, alpha in expected.items():
        assert alphas_cumprod()[int(timestep)].item() == pytest.approx(alpha, rel=1e-5)


def autoencoder(golden, loop):
    file = golden(loop.sidecar["vae_fixture"])
    return load_vae(file.weights, file.config)


def differ_by_at_most_one(pixels, expected):
    return (pixels.int() - expected.int()).abs().max() <= 1


def test_base_latents_decode_to_the_official_pixels(golden):
    loop = golden("loop_base")
    video = decode_latents(autoencoder(golden, loop), loop["out/ddim.latents"][-1])
    assert differ_by_at_most_one(to_uint8(video).permute(0, 2, 3, 4, 1), loop["out/ddim.video_uint8"])


def test_key_frames_encode_to_the_official_condition(golden):
    loop = golden("loop_interpolation")
    keys = loop["in/key_frames_uint8"].permute(1, 0, 2, 3)[None].float() / 127.5 - 1
    noise = loop["in/vae_sample_noise"][::4].transpose(0, 1)[None]
    latents = encode_video(autoencoder(golden, loop), keys, noise=noise)
    condition = latents[:, :, key_frame_of(61)]
    assert relative_error(condition, loop["out/condition_latents"]) < 1e-4


def test_interpolated_latents_decode_to_the_official_pixels(golden):
    loop = golden("loop_interpolation")
    video = decode_latents(autoencoder(golden, loop), loop["out/latents"][-1][:, :, [0, 1, 60]])
    assert differ_by_at_most_one(to_uint8(video)[0].permute(1, 2, 3, 0), loop["out/video_uint8_frames_0_1_60"])


def test_upscaled_latents_decode_to_the_official_pixels(golden):
    loop = golden("loop_vsr")
    first, last = loop["out/chunk0.latents"][-1][:, :, :1], loop["out/chunk1.latents"][-1][:, :, -1:]
    video = decode_latents(autoencoder(golden, loop), torch.cat((first, last), dim=2))
    pixels = to_uint8(video, rounding="truncate")[0].permute(1, 2, 3, 0)
    assert differ_by_at_most_one(pixels, loop["out/video_uint8_first_last"])


def test_a_masked_video_encodes_to_the_official_condition(golden):
    loop = golden("loop_seine")
    given = loop["in/first_last_uint8"].float() / 127.5 - 1
    video = torch.zeros(1, 3, 16, 64, 64)
    video[:, :, 0], video[:, :, -1] = given
    noise = loop["in/ddpm_onelast1.vae_sample_noise"].transpose(0, 1)[None]
    latents = encode_video(autoencoder(golden, loop), video, noise=noise)
    assert relative_error(latents, loop["out/ddpm_onelast1.masked_latents"]) < 1e-4
