"""What lives at once is counted, on runs without numbers, and the estimates are what is counted."""

import pytest
import torch
from support.networks import TWO_LEVELS
from torch.nn.functional import scaled_dot_product_attention

from lavie.models import UNetConfig, build_unet
from lavie.runtime.estimate import SLICES, feature_maps
from lavie.runtime.live import FlashAttention, LiveTensors

UPSCALER = {
    "in_channels": 7,
    "down_block_types": ("DownBlock3D",) + ("CrossAttnDownBlock3D",) * 3,
    "up_block_types": ("CrossAttnUpBlock3D",) * 3 + ("UpBlock3D",),
    "use_linear_projection": True,
    "only_cross_attention": (True, True, True, False),
    "num_class_embeds": 1000,
    "temporal_convolutions": True,
}
INTERPOLATION = {
    "in_channels": 8,
    "sparse_causal_attention": True,
    "temporal_positions": False,
    "temporal_attention_last": True,
}
STAGES = {
    "base": ({}, (320, 640, 1280, 1280)),
    "interpolation": (INTERPOLATION, (320, 640, 1280, 1280)),
    "upscaler": (UPSCALER, (256, 512, 512, 1024)),
}


def counted(config, sliced):
    """Feature maps of the first level at the peak."""
    with torch.device("meta"):
        unet = build_unet(config).eval()
        sample = torch.empty(1, config.in_channels, 16, 16, 32)
        text, label = torch.empty(1, 77, config.cross_attention_dim), torch.empty(1, dtype=torch.int64)
    elements = 16 * 16 * 32 * config.block_out_channels[0]
    unet.slice_elements = elements // SLICES if sliced else None
    with torch.no_grad(), FlashAttention(), LiveTensors() as live:
        unet(sample, torch.empty((), device="meta"), text, label)
    return live.peak / (4 * elements)


def test_only_what_is_alive_counts():
    given = torch.ones(1000)
    with LiveTensors() as live:
        first = given + 1  # 4000 bytes
        second = first.view(10, 100) + given.view(10, 100)  # and 4000; views take nothing
        del first
        third = second + 1
        third += 1
    assert live.peak == 8000


def test_attention_without_its_scores_has_the_shape_of_the_queries():
    query = torch.empty(2, 4, 50, 8, device="meta")
    with FlashAttention(), LiveTensors() as live:
        assert scaled_dot_product_attention(query, query, query).shape == query.shape
    assert live.peak == query.nbytes


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("sliced", [False, True])
def test_the_released_networks_have_as_many_feature_maps_alive_as_is_estimated(stage, sliced):
    options, widths = STAGES[stage]
    config = UNetConfig(**options, block_out_channels=widths)
    assert counted(config, sliced) == pytest.approx(feature_maps(config, sliced), rel=0.03)


def test_slices_leave_less_alive_and_a_small_network_needs_no_more_than_is_estimated():
    config = UNetConfig(**{**TWO_LEVELS, "norm_num_groups": 32, "cross_attention_dim": 768})
    whole, sliced = counted(config, False), counted(config, True)
    assert sliced < 0.5 * whole
    assert whole <= feature_maps(config, False)
    assert sliced <= feature_maps(config, True)
