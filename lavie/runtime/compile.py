"""`torch.compile`, block by block."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from ..models.blocks import ResnetBlock, TransformerBlock

Network = TypeVar("Network", bound=nn.Module)
VARIANTS = 64  # per kind of block: a released network has 14 shapes of resnets, each for every size of a clip


def compile_blocks(unet: Network, backend: str = "inductor") -> Network:
    """Compile every resnet and transformer block of a UNet at its first call, in place.

    Blocks of one kind share their code, so this takes a fraction of the time of compiling the whole. Another size or
    number of frames compiles again; another seed, timestep or LoRA strength does not. Raises torch's limit on how often
    one piece of code is compiled, above which blocks would silently stay uncompiled.
    """
    limits = torch._dynamo.config
    name = "recompile_limit" if hasattr(limits, "recompile_limit") else "cache_size_limit"  # of older torch
    setattr(limits, name, max(VARIANTS, getattr(limits, name)))
    for module in unet.modules():
        if isinstance(module, ResnetBlock | TransformerBlock):
            module.compile(dynamic=False, backend=backend)
    return unet
