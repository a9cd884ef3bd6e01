"""What every node puts out on the bundled weights: that of the library, at the sizes that it says."""

import pytest
import torch
from support.graph import (
    PACK,
    PROMPT,
    clip_of,
    decode,
    encode,
    interpolate,
    run,
    sample,
    stage,
    upscale,
    wires,
)

from lavie import InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from lavie.job import Job
from lavie.pipelines.text_to_video import sample_text_to_video


def levels(images, frames):
    """The largest difference between IMAGE and uint8 frames, in 255ths."""
    return (images * 255 - torch.from_numpy(frames)).abs().max().item()


def uint8(images):
    return (images * 255).round().to(torch.uint8).numpy()


# ---------------------------------------------------------------------------------------- equal to the library


def test_the_base_sampler_makes_the_clip_of_the_pipeline():
    pipeline = TextToVideoPipeline.from_pretrained("lavie-tiny", device="cpu")
    config = pipeline.stage.config.replaced(num_inference_steps=4)
    text = pipeline.stage.embed([PROMPT], config.negative_prompt)
    theirs = sample_text_to_video(Job.seeded(pipeline.stage.unet, text, config, [7], pipeline.stage.device))
    ours = sample(steps=4, num_frames=0, height=0, width=0)
    torch.testing.assert_close(ours * pipeline.stage.vae.config.scaling_factor, theirs, atol=1e-3, rtol=1e-4)
    assert levels(decode(ours), pipeline(PROMPT, seed=7, num_inference_steps=4).frames) <= 1


def test_the_base_sampler_repaints_a_video_as_the_pipeline_does():
    images = clip_of(3, 45, 50)  # no side is divisible by 8
    pipeline = TextToVideoPipeline.from_pretrained("lavie-tiny", device="cpu")
    theirs = pipeline(PROMPT, seed=7, num_inference_steps=4, video=uint8(images), strength=0.6).frames
    ours = decode(sample(steps=4, latent={"samples": encode(images)}, denoise=0.6))
    assert ours.shape == theirs.shape == (3, 40, 48, 3)
    assert levels(ours, theirs) <= 1


def test_the_interpolator_makes_the_frames_of_the_pipeline():
    images = clip_of(5, 45, 50)  # no side is divisible by 8
    pipeline = InterpolationPipeline.from_pretrained("lavie-tiny", device="cpu")
    settings = {"window": 3, "overlap": 1, "seed": 3}
    theirs = pipeline(uint8(images), PROMPT, num_inference_steps=2, **settings).frames
    ours = interpolate(images, **settings)
    assert theirs.shape == (17, 45, 50, 3)
    assert ours.shape == (17, 46, 50, 3)  # even, for Save Video
    assert levels(ours[:, :45], theirs) <= 1


def test_the_upscaler_makes_the_frames_of_the_pipeline():
    images = clip_of(3, 30, 40)
    pipeline = UpscalePipeline.from_pretrained("lavie-tiny", device="cpu")
    settings = {"window": 2, "overlap": 1, "tile": 32, "tile_overlap": 8, "seed": 3}
    theirs = pipeline(uint8(images), PROMPT, **settings).frames
    ours = upscale(images, **settings)
    assert ours.shape == theirs.shape == (3, 120, 160, 3)
    assert levels(ours, theirs) <= 1.5  # the pipeline truncates, as the official code does


def test_the_conditioning_is_the_embedding_of_the_library():
    encoder = TextToVideoPipeline.from_pretrained("lavie-tiny", device="cpu").stage.text_encoder
    prompt = "a (red:1.3) ball " + "moving left over green grass " * 20  # two chunks
    positive, negative = run("LaVieTextEncode", clip=stage("base").clip, prompt=prompt, negative_prompt="snow")
    torch.testing.assert_close(positive[0][0], encoder.encode([prompt]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(negative[0][0], encoder.encode(["snow"]), atol=1e-4, rtol=1e-4)
    assert positive[0][0].shape[1] == 2 * negative[0][0].shape[1]
    assert sample(positive=positive, negative=negative).isfinite().all()


# ---------------------------------------------------------------------------------------- sizes and rates


def test_zero_and_minus_one_stand_for_the_models_own_settings():
    latents, fps = run("LaVieBaseSampler", **wires("base"), steps=1)
    assert latents["samples"].shape == (1, 4, 16, 8, 12)
    assert fps == 8
    assert run("LaVieEmptyLatentVideo", width=0, height=0, num_frames=0, model=stage("base").model)[0][
        "samples"
    ].shape == (1, 4, 16, 8, 12)


@pytest.mark.parametrize(("num_frames", "height", "width"), [(1, 16, 24), (5, 40, 8), (18, 16, 16)])
def test_the_base_sampler_makes_any_size_divisible_by_8(num_frames, height, width):
    latents = sample(num_frames=num_frames, height=height, width=width, steps=1)
    assert latents.shape == (1, 4, num_frames, height // 8, width // 8)
    assert decode(latents).shape == (num_frames, height, width, 3)


def test_16_frames_become_61_that_last_as_long():
    rest = {"vae": stage("interpolation").vae, "images": clip_of(16, 16, 24), "steps": 1}
    images, fps, _ = run("LaVieTemporalInterpolator", **wires("interpolation"), **rest, fps=10.0)
    assert images.shape == (61, 16, 24, 3)
    assert len(images) / fps == 16 / 10


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 16), (2, 19, 21)])
def test_the_upscaler_makes_four_times_the_size_of_any_image(frames, height, width):
    images = upscale(clip_of(frames, height, width), steps=1)
    assert images.shape == (frames, 4 * height, 4 * width, 3)
    assert 0 <= images.min() < images.max() <= 1
    assert images.dtype == torch.float32


def test_images_with_transparency_or_in_grey_are_taken():
    images = clip_of(2, 16, 16)
    plain = upscale(images, steps=1)
    assert torch.equal(upscale(torch.cat((images, images[..., :1]), -1), steps=1), plain)
    grey = images[..., :1]
    assert torch.equal(upscale(grey, steps=1), upscale(grey.expand(-1, -1, -1, 3), steps=1))


def test_the_example_video_has_the_frames_asked_for():
    names = PACK.NODE_CLASS_MAPPINGS["LaVieExampleVideo"].INPUT_TYPES()["required"]["name"][0]
    for name in names:
        images, fps = run("LaVieExampleVideo", name=name)
        assert images.shape[1:] == (64, 96, 3)
        assert fps == (1 if "pictures" in name else 8)
        assert len(run("LaVieExampleVideo", name=name, num_frames=3)[0]) == 3
