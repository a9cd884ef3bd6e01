"""Compiled blocks: the same numbers, every block of them, and compiled once."""

import pytest
import torch
from support.lora_layers import plain
from torch._dynamo.utils import counters

from lavie.lora import Lora, LoraStack
from lavie.models import build_unet
from lavie.runtime.compile import compile_blocks

WIDE = {
    "in_channels": 4,
    "block_out_channels": [32, 64, 96, 128],
    "down_block_types": [*["CrossAttnDownBlock3D"] * 3, "DownBlock3D"],
    "up_block_types": ["UpBlock3D", *["CrossAttnUpBlock3D"] * 3],
    "attention_head_dim": 1,
    "cross_attention_dim": 8,
    "norm_num_groups": 8,
    "layers_per_block": 2,
}
SHAPES, TRANSFORMERS = 14, 4  # of resnets, as in the released base; of three levels and the middle


@pytest.fixture
def unets():
    """The same network twice, the second compiled by torch's own Python, which needs no compiler of C++."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    plain, compiled = build_unet(WIDE).eval(), build_unet(WIDE).eval()
    compiled.load_state_dict(plain.state_dict())
    yield plain, compile_blocks(compiled, backend="eager")
    torch._dynamo.reset()


def evaluate(unet, timestep=500, seed=0, frames=2):
    generator = torch.Generator().manual_seed(seed)
    sample, text = torch.randn(1, 4, frames, 16, 16, generator=generator), torch.randn(1, 6, 8, generator=generator)
    with torch.no_grad():
        return unet(sample, torch.tensor(timestep), text)


def graphs():
    return counters["stats"]["unique_graphs"]


def test_more_shapes_than_torch_compiles_by_default_are_compiled_and_only_once(unets):
    plain, compiled = unets
    torch.testing.assert_close(evaluate(compiled), evaluate(plain))
    known = graphs()
    assert known >= SHAPES + TRANSFORMERS
    for timestep, seed in ((480, 1), (3, 2)):
        torch.testing.assert_close(evaluate(compiled, timestep, seed), evaluate(plain, timestep, seed))
    assert graphs() == known


def test_a_lora_changes_the_image_and_compiles_nothing(unets):
    plain_unet, compiled = unets
    before = evaluate(compiled)
    known = graphs()
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    stacks = [LoraStack(unet) for unet in unets]
    for strength in (1.0, 0.3):
        for stack in stacks:
            stack.set([Lora("x", {name: plain(32, 32, seed=3)}, strength=strength)])
        made = evaluate(compiled)
        torch.testing.assert_close(made, evaluate(plain_unet))
        assert not torch.equal(made, before)
    for stack in stacks:
        stack.set([])
    assert torch.equal(evaluate(compiled), before)
    assert graphs() == known


def test_another_number_of_frames_compiles_again_and_is_right(unets):
    plain, compiled = unets
    evaluate(compiled)
    known = graphs()
    torch.testing.assert_close(evaluate(compiled, frames=3), evaluate(plain, frames=3))
    assert graphs() > known
