"""`torch.compile`, block by block."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from ..models.blocks import ResnetBlock, TransformerBlock

Network = TypeVar("Network", bound=nn.Module)


def compile_blocks(unet: Network) -> Network:
    """Have every resnet and transformer block of a UNet compiled at its first call, in place.

    Blocks of one kind share their code, so that this takes a fraction of the time of compiling the whole. Another size
    or number of frames compiles once more; another seed, timestep or LoRA strength does not.
    """
    for module in unet.modules():
        if isinstance(module, ResnetBlock | TransformerBlock):
            module.compile(dynamic=False)
    return unet
