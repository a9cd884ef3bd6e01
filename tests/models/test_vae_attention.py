"""Fewer keys in the VAE's decoder: means over squares of pixels, nothing else, and only while asked for."""

import math
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.graph import clip_of, part, upscale
from support.networks import small_vae
from torch.nn.functional import softmax

from lab.sprites import frame_times
from lab.sprites.held_out import held_out_scenes, rendered
from lavie import UpscalePipeline
from lavie.config import find_family
from lavie.evaluation.fidelity import psnr, squared_error
from lavie.models.latents import decode_latents, encode_video, to_uint8
from lavie.models.vae import load_vae
from lavie.models.vae_attention import PooledKeys, pooled_keys
from lavie.speed import SPEEDS, Speed


@pytest.fixture(scope="module")
def vae():
    """As the released upscaler's: 4 pixels per latent pixel, and attention, which lavie-tiny's lacks."""
    torch.manual_seed(0)
    return small_vae(8, 16, 16).eval()


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def by_hand(attention, x, side):
    """Every pixel's softmax over the means of the normalised features of squares, cut off at the edges."""
    batch, channels, height, width = x.shape
    normed = attention.group_norm(x)
    squares = [
        normed[:, :, top : top + side, left : left + side].mean(dim=(2, 3))
        for top in range(0, height, side)
        for left in range(0, width, side)
    ]
    keys = torch.stack(squares, dim=1)
    queries = attention.to_q(normed.flatten(2).transpose(1, 2))
    scores = queries @ attention.to_k(keys).transpose(1, 2) / math.sqrt(channels)
    out = attention.to_out[0](softmax(scores, dim=-1) @ attention.to_v(keys))
    return x + out.transpose(1, 2).reshape(batch, channels, height, width)


@pytest.mark.parametrize(
    ("height", "width", "most", "side"), [(8, 8, 16, 2), (7, 5, 9, 2), (9, 12, 12, 3), (1, 6, 2, 2)]
)
@torch.no_grad()
def test_keys_are_means_over_the_smallest_squares_that_are_few_enough(vae, height, width, most, side):
    attention = vae.decoder.mid_block.attentions[0]
    x = random(2, 16, height, width)
    with pooled_keys(vae, most):
        assert isinstance(attention.processor, PooledKeys)
        torch.testing.assert_close(attention(x), by_hand(attention, x, side), rtol=1e-4, atol=1e-5)
    whole = attention(x)
    torch.testing.assert_close(whole, by_hand(attention, x, 1), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(whole, by_hand(attention, x, side), atol=1e-3)


def test_an_image_with_few_pixels_and_a_vae_left_alone_decode_to_the_same_bits(vae):
    latents = random(1, 4, 2, 6, 6)
    before = decode_latents(vae, latents)
    with pooled_keys(vae, 36):
        assert torch.equal(decode_latents(vae, latents), before)
    with pooled_keys(vae, 0):
        assert torch.equal(decode_latents(vae, latents), before)
    with suppress(ZeroDivisionError), pooled_keys(vae, 4):
        assert not torch.equal(decode_latents(vae, latents), before)
        raise ZeroDivisionError
    assert torch.equal(decode_latents(vae, latents), before)


def test_it_is_far_nearer_to_the_whole_image_than_tiles_of_as_many_keys():
    vae = load_vae(find_family("lavie-tiny").path("vae"))
    frame = rendered(held_out_scenes(1, 1000)[0], frame_times(61)[:1], 512, 768)
    latents = encode_video(vae, torch.from_numpy(frame).permute(3, 0, 1, 2)[None].float() / 127.5 - 1)
    whole = to_uint8(decode_latents(vae, latents)).numpy()
    with pooled_keys(vae, 32**2):
        pooled = to_uint8(decode_latents(vae, latents)).numpy()
    tiles = to_uint8(decode_latents(vae, latents, tile=32)).numpy()
    assert psnr(squared_error(pooled, whole)) > 45 > psnr(squared_error(tiles, whole))


def test_the_keys_of_a_speed_reach_the_frames_of_the_upscaler_and_of_its_node(vae):
    stage = UpscalePipeline.from_pretrained("lavie-tiny", device="cpu").stage
    upscaler, graph_vae = UpscalePipeline(replace(stage, vae=vae)), part("nodes.vae").GraphVAE(vae, None)
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    latents = random(1, 4, 2, 8, 8)
    for make in (
        lambda keys: upscaler(frames, num_inference_steps=1, speed=Speed(vae_keys=keys)).frames,
        lambda keys: part("nodes.vae").decode(graph_vae, latents, keys=keys).numpy(),
    ):
        whole = make(0)
        assert np.array_equal(make(64), whole)
        assert not np.array_equal(make(4), whole)


def test_the_upscaler_decodes_so_where_its_speed_says(monkeypatch):
    asked = []
    noting = "lavie.pipelines.stage.pooled_keys"
    monkeypatch.setattr(noting, lambda vae, most: asked.append(most) or pooled_keys(vae, 0))
    upscaler = UpscalePipeline.from_pretrained("lavie-tiny", device="cpu")
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    for speed in (*SPEEDS, Speed(vae_keys=77)):
        upscaler(frames, num_inference_steps=1, speed=speed)
    assert asked == [0, 2**14, 2**14, 77]


def test_the_upscaler_node_decodes_so_too(monkeypatch):
    asked = []
    monkeypatch.setattr(part("nodes.vae"), "pooled_keys", lambda vae, most: asked.append(most) or pooled_keys(vae, 0))
    for speed in SPEEDS:
        upscale(clip_of(1, 8, 8), speed=speed)
    assert asked == [0, 2**14, 2**14]
