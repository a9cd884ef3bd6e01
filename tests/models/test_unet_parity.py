"""Our UNets reproduce the official code: same keys, same numbers."""

import pytest
import torch
from support.reference import relative_error

from lavie.models import build_unet
from lavie.models.positions import FramePositions, relative_position_buckets, rotary_frequencies
from lavie.models.unet import timestep_embedding

FIXTURES = {
    "base_tiny_4level": ["f16_8x8", "f24_5x9", "f1_8x8"],
    "base_tiny_headdim40": ["f16_6x8", "f18_5x7"],
    "interpolation_tiny_4level": ["f61_8x8", "f13_5x9"],
    "seine_tiny": ["transition_f16_8x8", "first1_f16_5x7"],
    "vsr_tiny_4level": ["f8_16x16", "f5_10x12"],
    "vsr_tiny_2heads": ["f8_8x12"],
}
CASES = [(name, case) for name, cases in FIXTURES.items() for case in cases]

SD14 = {"block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": 8, "cross_attention_dim": 768}
FULL_SIZE = {
    "lavie_base": SD14,
    "lavie_interpolation": {**SD14, "in_channels": 8, "use_first_frame": True},
    "seine": {**SD14, "in_channels": 9},
    "lavie_vsr": {
        "in_channels": 7,
        "block_out_channels": [256, 512, 512, 1024],
        "down_block_types": ["DownBlock3D", *["CrossAttnDownBlock3D"] * 3],
        "up_block_types": [*["CrossAttnUpBlock3D"] * 3, "UpBlock3D"],
        "cross_attention_dim": 1024,
        "use_linear_projection": True,
        "only_cross_attention": [True, True, True, False],
        "num_class_embeds": 1000,
        "temporal_module_config": {},
    },
}


def load(golden_file):
    unet = build_unet(golden_file.config).eval()
    unet.load_state_dict(golden_file.weights, strict=True)
    return unet


def inputs(golden_file, case):
    def get(name):
        return golden_file.get(f"in/{case}.{name}")

    sample, low_res = get("sample"), get("low_res")
    sample = sample if low_res is None else torch.cat((sample, low_res), dim=1)
    return sample, get("timestep"), get("encoder_hidden_states"), get("class_labels")


@pytest.mark.parametrize(("name", "case"), CASES)
@torch.no_grad()
def test_the_unet_predicts_what_the_official_one_predicts(golden, record_property, name, case):
    file = golden(name)
    error = relative_error(load(file)(*inputs(file, case)), file[f"out/{case}.sample"])
    record_property("relative_l2", error)
    print(f"{name} {case}: {error:.1e}")
    assert error <= 1e-4


@pytest.mark.parametrize("name", FULL_SIZE)
def test_the_full_size_unet_has_exactly_the_official_keys_and_shapes(key_manifest, name):
    with torch.device("meta"):
        unet = build_unet(FULL_SIZE[name])
    assert {key: list(value.shape) for key, value in unet.state_dict().items()} == key_manifest(name)


def test_rotary_angles_and_position_buckets_are_the_official_ones(golden):
    units = golden("units")
    x, y = (units[f"{name}"].transpose(1, 2)[:, :, None] for name in ("in/rotary.x", "out/rotary.y"))
    assert relative_error(FramePositions.of(61, x.device).rotate(x), y) < 1e-6
    assert torch.equal(rotary_frequencies(), units["out/rotary.freqs"])
    for frames in (8, 16, 24, 61):
        assert torch.equal(relative_position_buckets(frames), units[f"out/rel_pos_bucket.{frames}"])


def test_the_timestep_embedding_is_the_official_one(golden):
    units = golden("units")
    for channels in (320, 256):
        embedding = timestep_embedding(units["in/time_proj.timesteps"], channels)
        assert relative_error(embedding, units[f"out/time_proj.dim{channels}"]) < 1e-5


@torch.no_grad()
def test_one_layer_of_temporal_attention_is_the_official_one(golden):
    from lavie.models.attention import TemporalAttention

    units = golden("units")
    weights = {
        k.split("weights/")[1].removeprefix("temporal_attention."): v.float()
        for k, v in units.tensors.items()
        if "weights/" in k
    }
    layer = TemporalAttention(80, 2, positions=True)
    layer.load_state_dict(weights, strict=True)
    hidden = units["in/temporal_attention.hidden"]  # [pixels, frames, channels]
    out = layer(hidden.transpose(0, 1)[None], FramePositions.of(61, hidden.device))
    assert relative_error(out[0].transpose(0, 1), units["out/temporal_attention.hidden"]) < 1e-5
