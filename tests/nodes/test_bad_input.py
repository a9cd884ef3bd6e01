"""What an artist can get wrong: a plain sentence on the node that says what is wrong and what to do."""

from types import SimpleNamespace

import pytest
import torch
from support.graph import clip_of, extend, interpolate, refused, run, sample, stage, upscale, wires

VIDEO = torch.zeros(1, 4, 4, 4, 6)
IMAGE_LATENTS = torch.zeros(2, 4, 4, 6)


class SDXL:
    """As ComfyUI calls the configuration of that model."""


def other_model():
    return SimpleNamespace(model=SimpleNamespace(model_config=SDXL(), diffusion_model=torch.nn.Linear(1, 1)))


def conditioning(width, **options):
    return [[torch.zeros(1, 77, width), {"pooled_output": None, **options}]]


def limited(**options):
    return [[stage("base").positive[0][0], {"pooled_output": None, **options}]]


def decode(samples, **given):
    return run("LaVieVAEDecode", **{"samples": {"samples": samples}, "vae": stage("base").vae, **given})


def empty(**given):
    return run("LaVieEmptyLatentVideo", **given)


def prompt(text, clip="base"):
    return run("LaVieTextEncode", clip=clip and stage(clip).clip, prompt=text)


CASES = {
    "the upscaler's MODEL in the base sampler": (lambda: sample(model=stage("upscaler").model), "upscaler stage.*base"),
    "the base MODEL in the interpolator": (
        lambda: interpolate(clip_of(2, 16, 16), model=stage("base").model),
        "base stage.*interpolation",
    ),
    "the base MODEL in the upscaler": (
        lambda: upscale(clip_of(1, 16, 16), model=stage("base").model),
        "base stage.*upscaler",
    ),
    "the interpolation MODEL in the extender": (
        lambda: extend(VIDEO, model=stage("interpolation").model),
        "interpolation stage.*base",
    ),
    "the upscaler's MODEL in Empty Latent Video": (
        lambda: empty(num_frames=0, model=stage("upscaler").model),
        "upscaler stage",
    ),
    "an SDXL MODEL in the base sampler": (lambda: sample(model=other_model()), r"\(SDXL\) is not LaVie's"),
    "an SDXL MODEL in the extender": (lambda: extend(VIDEO, model=other_model()), r"\(SDXL\) is not LaVie's"),
    "an SDXL MODEL in the interpolator": (
        lambda: interpolate(clip_of(2, 16, 16), model=other_model()),
        r"\(SDXL\) is not LaVie's",
    ),
    "an SDXL MODEL in the upscaler": (
        lambda: upscale(clip_of(1, 16, 16), model=other_model()),
        r"\(SDXL\) is not LaVie's",
    ),
    "an SDXL MODEL in the LoRA loader": (
        lambda: run("LaVieLoraLoader", model=other_model(), lora_name="any.safetensors"),
        "not LaVie's",
    ),
    "a LoRA on the upscaler": (
        lambda: run("LaVieLoraLoader", model=stage("upscaler").model, lora_name="any.safetensors"),
        "no LoRA fits",
    ),
    "image latents in the base sampler": (
        lambda: sample(latent={"samples": IMAGE_LATENTS}),
        r"\[2, 4, 4, 6\].*Frames to Latent Video",
    ),
    "image latents in the extender": (lambda: extend(IMAGE_LATENTS), r"\[2, 4, 4, 6\].*Empty Latent Video"),
    "image latents in LaVie VAE Decode": (lambda: decode(IMAGE_LATENTS), r"\[2, 4, 4, 6\]"),
    "latents of another model": (
        lambda: sample(latent={"samples": torch.zeros(1, 16, 4, 4, 6)}),
        r"\[1, 16, 4, 4, 6\]",
    ),
    "no frames in LaVie VAE Decode": (lambda: decode(VIDEO[:, :, :0]), r"empty.*\[1, 4, 0, 4, 6\]"),
    "no videos in LaVie VAE Decode": (lambda: decode(VIDEO[:0]), r"empty.*\[0, 4, 4, 4, 6\]"),
    "no frames in the base sampler": (lambda: sample(latent={"samples": VIDEO[:, :, :0]}), "empty"),
    "no frames in the extender": (lambda: extend(VIDEO[:, :, :0]), "empty"),
    "no videos in the extender": (lambda: extend(VIDEO[:0]), "empty"),
    "no images in Frames to Latent Video": (
        lambda: run("LaVieFramesToLatentVideo", samples={"samples": IMAGE_LATENTS[:0]}),
        "empty",
    ),
    "no frames in Latent Video to Frames": (
        lambda: run("LaVieLatentVideoToFrames", samples={"samples": VIDEO[:, :, :0]}),
        "empty",
    ),
    "no images in the interpolator": (lambda: interpolate(clip_of(2, 16, 16)[:0]), "0 frame.*at least 2"),
    "no images in the upscaler": (lambda: upscale(clip_of(2, 16, 16)[:0]), "0 frame.*at least 1"),
    "video latents in Frames to Latent Video": (
        lambda: run("LaVieFramesToLatentVideo", samples={"samples": VIDEO}),
        "5-D.*4-D",
    ),
    "image latents in Latent Video to Frames": (
        lambda: run("LaVieLatentVideoToFrames", samples={"samples": IMAGE_LATENTS}),
        r"\[2, 4, 4, 6\]",
    ),
    "frames that do not divide": (
        lambda: run("LaVieFramesToLatentVideo", samples={"samples": torch.zeros(5, 4, 4, 6)}, num_frames=2),
        "5 frames.*videos of 2",
    ),
    "a mask of another length": (
        lambda: sample(latent={"samples": VIDEO, "noise_mask": torch.ones(3, 32, 48)}),
        "3 frames.*4",
    ),
    "latents that hold NaN": (lambda: extend(VIDEO * float("nan")), "NaN"),
    "NaN in LaVie VAE Decode": (lambda: decode(VIDEO * float("nan")), "NaN"),
    "one frame to interpolate": (lambda: interpolate(clip_of(1, 16, 16)), "1 frame.*at least 2"),
    "an image of 4 pixels": (lambda: upscale(clip_of(1, 4, 16)), "16×4.*too small"),
    "a width of 513": (lambda: sample(width=513), "width.*divisible by 8.*513"),
    "a height of 20": (lambda: empty(height=20), "height.*divisible by 8.*20"),
    "no size and no MODEL": (lambda: empty(width=0), "connect the MODEL"),
    "no frames and no MODEL": (lambda: empty(num_frames=0), "connect the MODEL"),
    "no frames to add": (lambda: extend(VIDEO, num_frames=0), "number of frames.*0"),
    "a million frames": (lambda: sample(num_frames=10**6), "frames must be between 1 and 10000, not 1000000"),
    "as much context as a clip is long": (
        lambda: extend(torch.zeros(1, 4, 20, 2, 2), context_frames=16),
        "between 1 and 15",
    ),
    "no steps": (lambda: sample(steps=0), "steps must be between 1 and 1000, not 0"),
    "no steps in the extender": (lambda: extend(VIDEO, steps=0), "steps must be between 1 and 1000, not 0"),
    "no steps in the interpolator": (
        lambda: interpolate(clip_of(2, 16, 16), steps=0),
        "steps must be between 1 and 1000, not 0",
    ),
    "no steps in the upscaler": (
        lambda: upscale(clip_of(1, 16, 16), steps=0),
        "steps must be between 1 and 1000, not 0",
    ),
    "guidance that is no number": (lambda: sample(guidance_scale=float("nan")), "guidance scale"),
    "denoise without latents": (lambda: sample(denoise=0.5), "denoise.*latents"),
    "a window that cannot move": (lambda: upscale(clip_of(4, 16, 16), window=2, overlap=2), "overlap.*smaller"),
    "a noise level beyond the last": (lambda: upscale(clip_of(1, 16, 16), noise_level=351), "noise level.*350"),
    "text of Stable Diffusion 1.x": (lambda: sample(positive=conditioning(768)), "768.*128.*CLIP"),
    "text of another encoder in the interpolator": (
        lambda: interpolate(clip_of(2, 16, 16), negative=conditioning(1024)),
        "1024.*128.*CLIP",
    ),
    "text of another encoder in the upscaler": (
        lambda: upscale(clip_of(1, 16, 16), positive=conditioning(768)),
        "768.*128.*CLIP",
    ),
    "text of another encoder in the extender": (lambda: extend(VIDEO, positive=conditioning(2048)), "2048.*CLIP"),
    "two combined conditionings": (
        lambda: sample(positive=stage("base").positive * 2),
        "positive input holds 2.*KSampler",
    ),
    "a conditioning of an area": (lambda: sample(negative=limited(area=(8, 8, 0, 0))), "negative.*area.*KSampler"),
    "a conditioning of a mask": (lambda: sample(positive=limited(mask=torch.ones(1, 8, 8))), "mask.*KSampler"),
    "a conditioning of some steps": (lambda: sample(positive=limited(end_percent=0.5)), "some steps.*KSampler"),
    "an empty prompt": (lambda: prompt("  \n"), "prompt is empty"),
    "no CLIP": (lambda: prompt("a ball", clip=None), "CLIP"),
    "no VAE to decode with": (lambda: decode(VIDEO, vae=None), "VAE"),
    "no VAE to encode with": (lambda: run("LaVieVAEEncode", images=clip_of(1, 16, 16), vae=None), "VAE"),
    "no VAE in the interpolator": (lambda: interpolate(clip_of(2, 16, 16), vae=None), "Frame Interpolation got no VAE"),
    "the base VAE in the upscaler": (
        lambda: upscale(clip_of(1, 16, 16), vae=stage("base").vae),
        "4 channels and 4 pixels.*4 and 8",
    ),
    "the upscaler's VAE in the interpolator": (
        lambda: interpolate(clip_of(2, 16, 16), vae=stage("upscaler").vae),
        "4 channels and 8 pixels.*4 and 4",
    ),
    "the VAE of another model in the interpolator": (
        lambda: interpolate(clip_of(2, 16, 16), vae=SimpleNamespace(latent_channels=16)),
        "this one has 16",
    ),
    "a base clip in the upscaler's VAE": (
        lambda: run(
            "LaVieVAEDecode",
            samples=run("LaVieBaseSampler", **wires("base"), steps=1, num_frames=1, width=16, height=16)[0],
            vae=stage("upscaler").vae,
        ),
        "8 pixels per latent pixel.*4 and 4",
    ),
    "an example that does not exist": (lambda: run("LaVieExampleVideo", name="../red ball"), "no example"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_input_is_answered_with_a_sentence(case):
    refused(*CASES[case])


def test_the_later_stages_take_an_empty_prompt():
    for name in ("interpolation", "upscaler"):
        positive, negative = prompt("", clip=name)
        assert positive[0][0].shape == negative[0][0].shape


def test_an_empty_negative_prompt_is_that_of_the_stage():
    info = stage("upscaler").clip.cond_stage_model.lavie
    own, said = (prompt_pair(text) for text in ("", info.config.negative_prompt))
    assert torch.equal(own, said)


def prompt_pair(negative):
    return run("LaVieTextEncode", clip=stage("upscaler").clip, prompt="a ball", negative_prompt=negative)[1][0][0]
