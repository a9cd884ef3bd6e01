"""Which weights learn under which scheme."""

import pytest
import torch
from support.networks import STAGES, inputs, unet_of

from lavie.errors import UsageError
from lavie.lora.names import is_temporal
from lavie.training.freezing import apply_scheme, has_adapters, lora_state_dict, merged

MODULES = {  # of a transformer block, of a level, of the network: which of them are there for time
    "base": {"attn_temp", "norm_temp"},
    "interpolation": {"attn_temp", "norm_temp"},
    "upscaler": {
        "attn_temporal",
        "norm_temporal",
        "resblock_temporal",
        "down_temporal_blocks",
        "mid_temporal_block",
        "up_temporal_blocks",
    },
}


@pytest.mark.parametrize("stage", STAGES)
def test_temporal_layers_are_those_that_the_image_model_has_not(stage):
    names = [name for name, _ in unet_of(stage).named_parameters()]
    expected = {name for name in names if MODULES[stage] & set(name.split("."))}
    assert {name for name in names if is_temporal(name)} == expected
    assert {part for name in expected for part in name.split(".") if part in MODULES[stage]} == MODULES[stage]


@pytest.mark.parametrize(
    ("manifest", "temporal", "spatial"),
    [
        ("lavie_base", 16 * 8, 686),  # as many as Stable Diffusion 1.4's UNet has
        ("lavie_interpolation", 16 * 7, 686),
        ("lavie_vsr", 16 * (8 + 8) + 9 * 22, 687),  # and the table of noise levels
    ],
)
def test_the_released_networks_divide_into_time_and_space(key_manifest, manifest, temporal, spatial):
    keys = [key for key in key_manifest(manifest) if not key.endswith("freqs")]
    found = sum(map(is_temporal, keys))
    assert (found, len(keys) - found) == (temporal, spatial)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("scheme", ["all", "temporal", "spatial"])
def test_what_is_frozen_gets_no_gradient_and_what_learns_does(stage, scheme):
    unet = apply_scheme(unet_of(stage), scheme)
    sample, timesteps, text, labels = inputs(stage)
    unet(sample, timesteps, text[:, 0], labels).square().mean().backward()
    learning = {name for name, p in unet.named_parameters() if p.grad is not None}
    wanted = {"all": (True, False), "temporal": (True,), "spatial": (False,)}[scheme]
    assert learning == {name for name, _ in unet.named_parameters() if is_temporal(name) in wanted}


@pytest.mark.parametrize("stage", STAGES)
def test_a_lora_learns_in_spatial_layers_alone_and_merges_into_the_same_network(stage):
    unet, original = unet_of(stage), unet_of(stage)
    sample, timesteps, text, labels = inputs(stage)
    arguments = (sample, timesteps, text[:, 0], labels)
    torch.manual_seed(1)
    unet = apply_scheme(unet, "spatial-lora", rank=2)
    with torch.no_grad():
        torch.testing.assert_close(unet(*arguments), original(*arguments))
    optimizer = torch.optim.SGD([p for p in unet.parameters() if p.requires_grad], 10.0)
    unet(*arguments).square().mean().backward()
    optimizer.step()
    learning = {name for name, p in unet.named_parameters() if p.requires_grad}
    assert learning
    assert all("lora_" in name and not is_temporal(name) for name in learning)
    plain = merged(unet)
    assert plain.state_dict().keys() == original.state_dict().keys()
    with torch.no_grad():
        changed = unet(*arguments)
        assert (changed - original(*arguments)).abs().max() > 1e-3
        torch.testing.assert_close(plain(*arguments), changed, atol=1e-5, rtol=1e-4)


def test_a_lora_is_saved_under_the_names_that_others_read():
    unet = apply_scheme(unet_of("base"), "spatial-lora", rank=3)
    tensors = lora_state_dict(unet)
    prefix = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0"
    assert tensors[f"{prefix}_attn1_to_q.lora_down.weight"].shape == (3, 32)
    assert tensors[f"{prefix}_ff_net_0_proj.lora_up.weight"].shape == (256, 3)
    assert tensors[f"{prefix}_attn2_to_out_0.alpha"] == 3
    assert not any(is_temporal(name) for name in tensors)


def test_without_adapters_there_is_nothing_to_merge_or_save():
    unet = unet_of("base")
    assert not has_adapters(unet)
    assert merged(unet) is unet
    with pytest.raises(UsageError, match="no LoRA"):
        lora_state_dict(unet)


def test_unknown_schemes_and_ranks_are_refused():
    with pytest.raises(UsageError, match="spatial"):
        apply_scheme(unet_of("base"), "spatial layers")
    with pytest.raises(UsageError, match="rank"):
        apply_scheme(unet_of("base"), "spatial-lora", rank=0)
