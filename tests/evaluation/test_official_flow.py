"""The data flow that the benchmarks compare with predicts what `VideoUNet` predicts."""

import pytest
import torch
from support.networks import TWO_LEVELS

from benchmarks.official_flow import OfficialFlow, fused, materialised
from lavie.models import UNetConfig, build_unet

SMALL = {**TWO_LEVELS, "norm_num_groups": 32, "cross_attention_dim": 24}
INTERPOLATION = {
    "in_channels": 8,
    "sparse_causal_attention": True,
    "temporal_positions": False,
    "temporal_attention_last": True,
}
UPSCALER = {
    "in_channels": 7,
    "only_cross_attention": (True, False),
    "num_class_embeds": 50,
    "temporal_convolutions": True,
    "use_linear_projection": True,
}


@pytest.mark.parametrize("core", [materialised, fused])
@pytest.mark.parametrize("own", [{}, INTERPOLATION, UPSCALER], ids=["base", "interpolation", "upscaler"])
def test_it_predicts_what_the_unet_predicts(own, core):
    config = UNetConfig(**{**SMALL, **own})
    torch.manual_seed(0)
    unet = build_unet(config).eval()
    sample, text = torch.randn(2, config.in_channels, 5, 6, 9), torch.randn(2, 7, config.cross_attention_dim)
    labels = None if config.num_class_embeds is None else torch.tensor([20, 3])
    with torch.no_grad():
        ours = unet(sample, 321.0, text, labels)
        official = OfficialFlow(unet, core)(sample, 321.0, text, labels)
    assert ours.std() > 0.01
    torch.testing.assert_close(official, ours, atol=2e-5, rtol=1e-4)
