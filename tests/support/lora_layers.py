"""LoRAs of random weights for the network of `support.networks`, and what they change there."""

import torch

from lavie.lora import Lora

ATTENTION = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
CONVOLUTION = "lora_unet_down_blocks_0_resnets_0_conv1"


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain(out, inner, rank=4, kernel=(), seed=0, alpha=None):
    parts = {
        "lora_down.weight": random(rank, inner, *kernel, seed=seed),
        "lora_up.weight": random(out, rank, *[1] * len(kernel), seed=seed + 1),
    }
    return parts if alpha is None else {**parts, "alpha": torch.tensor(float(alpha))}


def lora(strength=1.0, seed=0, **changes):
    layers = {ATTENTION: plain(64, 64, seed=seed), CONVOLUTION: plain(32, 32, kernel=(3, 3), seed=seed)}
    return Lora("test.safetensors", layers, **{"strength": strength, **changes})


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def differing(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}
