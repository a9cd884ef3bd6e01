"""Strengths by block and over the steps: which layers and when."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.lora_layers import ATTENTION, CONVOLUTION, differing, lora, weights
from support.networks import TWO_LEVELS

from lavie.errors import UsageError
from lavie.lora import BlockStrengths, LoraStack, StepStrengths
from lavie.lora.blocks import PRESETS, block_of
from lavie.models import build_unet


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(TWO_LEVELS).eval()


def call(unet, timestep):
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn(1, 4, 2, 8, 8, generator=generator)
    text = torch.randn(1, 77, unet.config.cross_attention_dim, generator=generator)
    with torch.no_grad():
        return unet(sample, torch.tensor([timestep]), text)


# blocks


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", "BASE"),
        ("lora_unet_conv_in", "IN00"),
        ("lora_unet_time_embedding_linear_1", "IN00"),
        ("lora_unet_down_blocks_0_attentions_0_proj_in", "IN01"),
        ("lora_unet_down_blocks_0_downsamplers_0_conv", "IN03"),
        ("lora_unet_down_blocks_1_attentions_1_transformer_blocks_0_attn2_to_k", "IN05"),
        ("lora_unet_down_blocks_3_resnets_1_conv1", "IN11"),
        ("lora_unet_mid_block_attentions_0_proj_out", "MID"),
        ("lora_unet_up_blocks_0_resnets_0_conv1", "OUT00"),
        ("lora_unet_up_blocks_1_attentions_0_proj_in", "OUT03"),
        ("lora_unet_up_blocks_2_upsamplers_0_conv", "OUT08"),
        ("lora_unet_up_blocks_3_attentions_2_proj_in", "OUT11"),
        ("lora_unet_conv_out", "OUT11"),
    ],
)
def test_blocks_are_numbered_as_in_stable_diffusion(layer, block):
    assert block_of(layer) == block


def test_a_list_of_17_names_the_blocks_with_attention_in_order():
    strengths = BlockStrengths.parse(", ".join(str(number) for number in range(17)))
    seen = [strengths.of(layer) for layer in ("lora_te_x", "lora_unet_down_blocks_0_attentions_0_proj_in")]
    seen += [strengths.of("lora_unet_mid_block_attentions_0_proj_in")]
    seen += [strengths.of(f"lora_unet_up_blocks_{i}_attentions_{i - 1}_proj_in") for i in (1, 2, 3)]
    assert seen == [0, 1, 7, 8, 12, 16]


def test_a_list_of_26_names_all_blocks():
    strengths = BlockStrengths.parse(",".join(str(number / 2) for number in range(26)))
    assert strengths.of("lora_unet_down_blocks_0_resnets_0_conv1") == 1
    assert strengths.of("lora_unet_mid_block_resnets_0_conv1") == 6.5
    assert strengths.of("lora_unet_up_blocks_3_resnets_2_conv1") == 12.5


def test_names_stand_for_one_block_or_all_of_a_kind():
    strengths = BlockStrengths.parse("in=0.25, IN05=0.5, OTHER=0, base=1")
    assert strengths.of("lora_unet_down_blocks_1_attentions_1_proj_in") == 0.5
    assert strengths.of("lora_unet_down_blocks_1_attentions_0_proj_in") == 0.25
    assert strengths.of("lora_unet_mid_block_attentions_0_proj_in") == 0
    assert strengths.of("lora_te_text_model_x") == 1
    assert BlockStrengths.parse("").of("lora_unet_conv_in") == 1


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_only_zeros_and_ones(name):
    strengths = BlockStrengths.parse(name.lower())
    layers = [f"lora_unet_up_blocks_{i}_attentions_0_proj_in" for i in (1, 2, 3)]
    expected = {"OUTALL": [1, 1, 1], "ALL": [1, 1, 1], "OUTD": [1, 1, 0], "OUTS": [0, 0, 1], "MIDD": [1, 1, 0]}
    assert [strengths.of(layer) for layer in layers] == expected.get(name, [0, 0, 0])


@pytest.mark.parametrize("text", ["1,2,3", "UP=1", "IN99x=1", "IN=much", "IN=1e9", "IN=nan", "nonsense"])
def test_blocks_that_cannot_be_understood_are_refused(text):
    with pytest.raises(UsageError):
        BlockStrengths.parse(text)


def test_a_block_of_strength_zero_stays_untouched(unet):
    before, stack = weights(unet), LoraStack(unet)
    stack.set([lora(1.0, blocks=BlockStrengths.parse("MID=0"))])
    changed = differing(before, weights(unet))
    assert changed == {"down_blocks.0.resnets.0.conv1.weight"}
    stack.set([lora(1.0, blocks=BlockStrengths.parse("IN=0, MID=0.5"))])
    halved = weights(unet)
    stack.set([lora(0.5, blocks=BlockStrengths.parse("IN=0"))])
    assert not differing(halved, weights(unet))
    stack.set([])
    assert not differing(before, weights(unet))


# steps


def test_strengths_run_from_point_to_point():
    strengths = StepStrengths.parse("0.25: 0, 0.75: 1")
    assert [strengths.at(timestep) for timestep in (999, 800, 499.5, 200, 0)] == [0, 0, 0.5, 1, 1]
    assert StepStrengths.parse("").at(500) == 1
    assert StepStrengths.parse("late").at(999) == 0
    assert StepStrengths.parse("early").at(0) == 0


@given(st.floats(0, 999), st.lists(st.tuples(st.floats(0, 1), st.floats(-2, 2)), min_size=1, max_size=5))
def test_no_strength_lies_outside_of_its_points(timestep, points):
    points = sorted({round(place, 3): round(factor, 3) for place, factor in points}.items())
    strengths = StepStrengths.parse(", ".join(f"{place}: {factor}" for place, factor in points))
    factors = [factor for _, factor in points]
    assert min(factors) - 1 / 64 <= strengths.at(timestep) <= max(factors) + 1 / 64


@pytest.mark.parametrize("text", ["0.5", "2: 1", "-1: 1", "0.5: 1, 0.2: 1", "a: b", "0: 1e9", "0: nan"])
def test_steps_that_cannot_be_understood_are_refused(text):
    with pytest.raises(UsageError):
        StepStrengths.parse(text)


def test_over_the_steps_the_network_predicts_as_with_that_strength(unet):
    stack, before = LoraStack(unet), weights(unet)
    plain = call(unet, 999)
    expected = {}
    for timestep, strength in ((999, 0.0), (499, 0.5), (100, 1.0)):
        stack.set([lora(strength)])
        expected[timestep] = call(unet, timestep)
    stack.set([lora(1.0, steps=StepStrengths.parse("0: 0, 0.8: 0.8, 0.9: 1"))])
    for timestep in (999, 499, 100, 499, 999):
        torch.testing.assert_close(call(unet, timestep), expected[timestep], rtol=1e-4, atol=1e-5)
    assert torch.equal(call(unet, 999), plain)
    stack.set([])
    assert not differing(before, weights(unet))
    call(unet, 100)
    assert not differing(before, weights(unet))


def test_a_lora_without_steps_stays_while_another_comes_and_goes(unet):
    stack = LoraStack(unet)
    stack.set([lora(0.5), lora(0.0, seed=5)])
    lasting = call(unet, 999)
    stack.set([lora(0.5), lora(1.0, seed=5, steps=StepStrengths.parse("0: 0, 0.5: 1"))])
    assert not torch.allclose(call(unet, 100), lasting)
    torch.testing.assert_close(call(unet, 999), lasting, rtol=1e-4, atol=1e-5)
    stack.set([])


def test_the_layers_of_these_tests_lie_in_different_blocks():
    assert (block_of(ATTENTION), block_of(CONVOLUTION)) == ("MID", "IN01")
