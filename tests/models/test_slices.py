"""Work in slices gives the same prediction as work on whole feature maps, whatever their size, in less memory."""

from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import TWO_LEVELS

from lavie.long_video.free_long import spectral_blend
from lavie.models import UNetConfig, build_unet
from lavie.models.slices import by_frames, slices_of

SMALL = {**TWO_LEVELS, "norm_num_groups": 32}
CONFIGS = {
    "base": UNetConfig(**SMALL),
    "interpolation": UNetConfig(
        **{
            **SMALL,
            "in_channels": 8,
            "sparse_causal_attention": True,
            "temporal_positions": False,
            "temporal_attention_last": True,
        }
    ),
    "upscaler": UNetConfig(
        **{
            **SMALL,
            "down_block_types": SMALL["down_block_types"][::-1],
            "up_block_types": SMALL["up_block_types"][::-1],
            "only_cross_attention": (True, True),
            "in_channels": 7,
            "use_linear_projection": True,
            "num_class_embeds": 1000,
            "temporal_convolutions": True,
        }
    ),
}


@lru_cache
def network(name):
    torch.manual_seed(0)
    return build_unet(CONFIGS[name]).eval()


def predicted(unet, elements=None, frames=5, height=6, width=7, batch=2, per_frame=False, **options):
    generator = torch.Generator().manual_seed(frames * height)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    sample = 3 + draw(batch, unet.config.in_channels, frames, height, width)
    each = (frames,) if per_frame else ()
    text = draw(batch, *each, 4, unet.config.cross_attention_dim)
    timestep = torch.arange(frames)[None] * 100 if per_frame else torch.arange(batch) * 100
    labels = None if unet.config.num_class_embeds is None else torch.full((batch,), 50)
    unet.slice_elements = elements
    try:
        with torch.no_grad():
            return unet(sample, timestep, text, labels, **options)
    finally:
        unet.slice_elements = None


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=5, deadline=None)
@given(
    elements=st.integers(200, 40_000),  # below, thousands of slices take seconds
    frames=st.integers(1, 6),
    height=st.integers(1, 9),
    per_frame=st.booleans(),
)
def test_slices_of_any_size_change_nothing(name, elements, frames, height, per_frame):
    shape = {"frames": frames, "height": height, "per_frame": per_frame}
    whole, sliced = (predicted(network(name), each, **shape) for each in (None, elements))
    torch.testing.assert_close(sliced, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_smallest_slices_change_nothing(name):
    whole, sliced = (predicted(network(name), each, frames=3, height=3, width=2) for each in (None, 1))
    torch.testing.assert_close(sliced, whole, atol=1e-5, rtol=1e-5)


def test_a_strategy_over_time_sees_all_frames_in_slices():
    strategy = spectral_blend(2)
    whole, sliced = (predicted(network("base"), each, strategy=strategy) for each in (None, 900))
    torch.testing.assert_close(sliced, whole, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(whole, predicted(network("base")), atol=1e-4)


def test_images_beside_a_video_go_in_slices_too():
    unet = network("base")
    sample, text = torch.randn(2, 4, 5, 6, 6), torch.randn(2, 3, 4, 16)
    with torch.no_grad():
        whole = unet(sample, 7, text, num_images=2)
        unet.slice_elements = 500
        sliced = unet(sample, 7, text, num_images=2)
    unet.slice_elements = None
    torch.testing.assert_close(sliced, whole, atol=1e-5, rtol=1e-5)


def test_training_takes_no_notice_of_slices():
    unet = network("base")
    sample, text = torch.randn(1, 4, 3, 4, 4), torch.randn(1, 4, 16)
    gradients = []
    for elements in (None, 100):
        unet.slice_elements = elements
        gradients.append(torch.autograd.grad(unet(sample, 7, text).square().sum(), unet.conv_in.weight)[0])
    unet.slice_elements = None
    assert torch.equal(*gradients)


@given(length=st.integers(1, 50), width=st.integers(1, 50), elements=st.integers(1, 3000))
def test_slices_cover_everything_once_and_are_no_larger_than_allowed(length, width, elements):
    x = torch.empty(width, length, device="meta")
    parts = slices_of(x, 1, elements)
    assert [i for part in parts for i in range(length)[part]] == list(range(length))
    assert all((part.stop - part.start) * width <= max(elements, width) for part in parts)


def test_frames_are_put_together_in_their_places():
    x = torch.randn(5, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    seen = []

    def work(part):
        seen.append(len(part))
        return part[..., :2] + 1

    made = by_frames(work, x, 2 * x[0].numel())
    assert torch.equal(made, x[..., :2] + 1)
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert seen == [2, 2, 1]


def test_the_norm_over_frames_keeps_its_digits_where_the_mean_is_large():
    norm = network("base").conv_norm_out
    x = 1000 + torch.randn(6, 32, 8, 8).contiguous(memory_format=torch.channels_last)
    moments = norm.moments(x, 3, x[0].numel())
    expected = torch.nn.functional.group_norm(
        x.double().unflatten(0, (2, 3)).transpose(1, 2), 32, norm.weight.double(), norm.bias.double(), norm.eps
    )
    expected = expected.transpose(1, 2).flatten(0, 1).float()
    torch.testing.assert_close(norm.normalised(x, *moments), expected, atol=1e-3, rtol=1e-3)
