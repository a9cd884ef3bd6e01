"""Seeds, batches, and latents on their way through the nodes; what a node is given stays as it is."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.graph import clip_of, decode, encode, extend, interpolate, run, sample, stage, upscale, wires


@pytest.fixture(scope="module")
def clip():
    """Latents of 4 frames of 32×48 pixels."""
    return sample()


def test_the_same_seed_gives_the_same_output():
    images = clip_of(3, 16, 16)
    empty = torch.zeros(1, 4, 3, 2, 2)
    for node in (
        lambda seed: sample(seed=seed, height=16, width=16),
        lambda seed: extend(empty, seed=seed),
        lambda seed: interpolate(images, seed=seed),
        lambda seed: upscale(images, seed=seed),
    ):
        assert torch.equal(node(5), node(5))
        assert not torch.equal(node(5), node(6))


def test_a_batch_of_two_holds_the_clips_of_two_seeds(clip):
    empty = run("LaVieEmptyLatentVideo", width=48, height=32, num_frames=4, batch_size=2)[0]
    both = sample(latent=empty)
    assert both.shape == (2, 4, 4, 4, 6)
    torch.testing.assert_close(both[:1], clip, atol=2e-3, rtol=1e-3)
    torch.testing.assert_close(both[1:], sample(seed=8), atol=2e-3, rtol=1e-3)
    assert decode(both).shape == (8, 32, 48, 3)
    longer = extend(both)
    assert longer.shape == (2, 4, 8, 4, 6)
    assert torch.equal(longer[:, :, :4], both)


def test_less_denoise_keeps_more_of_the_video():
    latents = encode(clip_of(4, 32, 48))
    distances = [(sample(latent={"samples": latents}, denoise=denoise) - latents).norm() for denoise in (0.1, 0.5, 1.0)]
    assert 0 < distances[0] < distances[1] < distances[2]


@pytest.mark.parametrize("mask_frames", [None, 1, 4])
def test_the_noise_mask_keeps_what_it_covers(mask_frames):
    latents = encode(clip_of(4, 32, 48))
    mask = torch.ones(32, 48)
    mask[:, :24] = 0
    mask = mask if mask_frames is None else mask.expand(mask_frames, 32, 48)
    made = sample(latent={"samples": latents, "noise_mask": mask})
    assert torch.equal(made[..., :2], latents[..., :2])
    assert (made[..., 4:] - latents[..., 4:]).abs().mean() > 0.1


def test_the_extender_gives_the_frames_that_came_in_bit_for_bit():
    given_frames = encode(clip_of(4, 32, 48))
    longer = extend(given_frames, num_frames=20)  # two rounds
    assert longer.shape == (1, 4, 24, 4, 6)
    assert torch.equal(longer[:, :, :4], given_frames)


def test_one_image_becomes_a_video():
    image = encode(clip_of(1, 32, 48))
    assert extend(image, context_frames=4).shape == (1, 4, 5, 4, 6)


def test_frames_come_back_from_the_latents():
    images = run("LaVieExampleVideo", num_frames=5)[0]
    latents = encode(images)
    assert latents.shape == (1, 4, 5, 8, 12)
    assert (decode(latents) - images).abs().mean() < 0.02
    assert (decode(latents, tile=64) - images).abs().mean() < 0.02
    cropped = encode(images[:, :61, :90])
    assert cropped.shape == (1, 4, 5, 7, 11)


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**31))
def test_frames_and_latent_videos_turn_into_each_other(batch, frames, height, width, seed):
    video = torch.randn(batch, 4, frames, height, width, generator=torch.Generator().manual_seed(seed))
    images = run("LaVieLatentVideoToFrames", samples={"samples": video})[0]["samples"]
    assert images.shape == (batch * frames, 4, height, width)
    for clip in range(batch):
        assert torch.equal(images[clip * frames], video[clip, :, 0])
    back = run("LaVieFramesToLatentVideo", samples={"samples": images}, num_frames=frames)[0]["samples"]
    assert torch.equal(back, video)
    one = run("LaVieFramesToLatentVideo", samples={"samples": images})[0]["samples"]
    assert one.shape == (1, 4, batch * frames, height, width)


def snapshot(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: snapshot(each) for key, each in value.items()}
    return [snapshot(each) for each in value] if isinstance(value, list | tuple) else value


def same(value, before):
    if isinstance(value, torch.Tensor):
        return torch.equal(value, before)
    if isinstance(value, dict):
        return value.keys() == before.keys() and all(same(each, before[key]) for key, each in value.items())
    if isinstance(value, list | tuple):
        return len(value) == len(before) and all(map(same, value, before))
    if hasattr(value, "get_components"):
        return same(value.get_components().images, before.get_components().images)
    return value == before


def test_no_node_changes_what_it_is_given(clip):
    latent = {"samples": clip, "noise_mask": torch.rand(4, 32, 48), "batch_index": [0]}
    images, vae = clip_of(3, 19, 21), stage("base").vae
    calls = [
        ("LaVieBaseSampler", {**wires("base"), "latent": latent, "steps": 1, "denoise": 0.5}),
        ("LaVieAutoregressiveExtender", {**wires("base"), "latent": latent, "steps": 1, "num_frames": 2}),
        ("LaVieVAEDecode", {"samples": latent, "vae": vae}),
        ("LaVieVAEEncode", {"images": images, "vae": vae}),
        ("LaVieLatentVideoToFrames", {"samples": latent}),
        ("LaVieFramesToLatentVideo", {"samples": {"samples": clip[0].transpose(0, 1)}}),
        ("LaVieTemporalInterpolator", {**wires("interpolation"), "vae": vae, "images": images, "steps": 1}),
        ("LaVieVideoUpscaler", {**wires("upscaler"), "vae": stage("upscaler").vae, "images": images, "steps": 1}),
    ]
    for node, inputs in calls:
        data = {key: value for key, value in inputs.items() if key not in ("model", "vae")}
        before = snapshot(data)
        first = run(node, **inputs)
        assert same(data, before), node
        again = run(node, **inputs)
        assert same(list(first), list(again)), node
