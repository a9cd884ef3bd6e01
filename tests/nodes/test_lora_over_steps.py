"""A LoRA whose strength changes over the steps, beside the weights: as one of that strength in them."""

import importlib

import pytest
import torch
from support.lora_layers import ATTENTION, CONVOLUTION, lora, random
from support.networks import TWO_LEVELS
from support.pack import NAME, load_pack

from lavie.lora import LoraStack
from lavie.models import build_unet

load_pack()
lora_patches = importlib.import_module(f"{NAME}.nodes.lora_patches")
adapters = importlib.import_module(f"{NAME}.nodes.adapters")
own = importlib.import_module(f"{NAME}.lavie.lora")


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(TWO_LEVELS).eval()


def inputs(unet, timestep):
    sample = random(1, 4, 2, 8, 8, seed=1)
    return sample, torch.tensor([timestep]), random(1, 77, unet.config.cross_attention_dim, seed=2)


def of_the_pack(given, steps):
    layers = {ATTENTION: dict(given.layers[ATTENTION]), CONVOLUTION: dict(given.layers[CONVOLUTION])}
    layers[CONVOLUTION]["diff_b"] = random(32, seed=4)
    return own.Lora("test", layers, given.strength, steps=own.StepStrengths.parse(steps))


@torch.no_grad()
@pytest.mark.parametrize(("timestep", "factor"), [(999, 0.0), (499.5, 0.5), (0, 1.0)])
def test_beside_the_weights_it_does_what_it_does_in_them(unet, timestep, factor):
    stepped = lora_patches.StepLora(of_the_pack(lora(0.8), "0: 0, 1: 1"))
    with stepped.on(unet, timestep):
        beside = unet(*inputs(unet, timestep))
    plain = unet(*inputs(unet, timestep))
    constant = of_the_pack(lora(0.8 * factor), "")
    stack = LoraStack(unet)
    stack.set([constant])
    within = unet(*inputs(unet, timestep))
    stack.set([])
    torch.testing.assert_close(beside, within, rtol=1e-4, atol=1e-5)
    assert torch.equal(beside, plain) == (factor == 0)
    assert not any(module._forward_hooks for module in unet.modules())


@torch.no_grad()
def test_the_network_of_the_graph_takes_them_from_the_options(unet):
    graph = adapters.GraphUNet.adopt(build_unet(TWO_LEVELS).eval())
    graph.load_state_dict(unet.state_dict())
    loras = [lora_patches.StepLora(of_the_pack(lora(0.4, seed=seed), "0: 1, 1: 1")) for seed in (0, 5)]
    made = graph(*inputs(unet, 500), transformer_options={adapters.STEP_LORAS: loras})
    stack = LoraStack(unet)
    stack.set([each.lora for each in loras])
    torch.testing.assert_close(made, unet(*inputs(unet, 500)), rtol=1e-4, atol=1e-5)
    stack.set([])
    assert torch.equal(graph(*inputs(unet, 500)), unet(*inputs(unet, 500)))
