"""Where the parts of a stage are while it runs: all on the device, one at a time, or the UNet block by block."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..models import VideoUNet
from ..models.blocks import Downsample, ResnetBlock, TemporalModule, Transformer, Upsample

CPU = torch.device("cpu")
BLOCKS = (ResnetBlock, Transformer, TemporalModule, Downsample, Upsample)


class Placement:
    """Moves a stage's parts to the device when they are used, and keeps the others in main memory.

    mode: "none", "parts" or "blocks", as in `Execution.offload`.
    """

    def __init__(self, unet: VideoUNet, vae: nn.Module, text_encoder: nn.Module, device: torch.device) -> None:
        self.parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder}
        self.device = device
        self.mode = "none"
        self._by_blocks = False

    def bring(self, name: str) -> None:
        """Move the part of that name to the device, because it is about to be used."""
        for other, part in self.parts.items():
            if other != name and self.mode != "none":
                self._move(other, part, CPU)
        self._move(name, self.parts[name], self.device)

    def release(self) -> None:
        """Move all parts to main memory."""
        for name, part in self.parts.items():
            self._move(name, part, CPU)

    def weight_bytes(self) -> int:
        """Bytes of the parts that are on the device now."""
        on_device = (each for each in self.parts.values() if next(each.parameters()).device.type == self.device.type)
        return sum(map(weight_bytes, on_device))

    def _move(self, name: str, part: nn.Module, device: torch.device) -> None:
        if name == "unet" and self.mode == "blocks" and not self._by_blocks:
            offload_blocks(cast("VideoUNet", part), self.device)
            self._by_blocks = True
        if name == "unet" and self._by_blocks:
            return
        if next(part.parameters()).device != device:
            part.to(device)


def offload_blocks(unet: VideoUNet, device: torch.device) -> None:
    """Move every block of the UNet to the device when it runs, and off again when it is done.

    Simple and synchronous: the weights stay in main memory, and a copy does the work.
    (diffusers' group offloading copies the list of skip tensors that our blocks read from.)
    """
    blocks = blocks_of(unet)
    inside = {id(each) for block in blocks for each in _tensors(block)}
    for each in _tensors(unet):
        if id(each) not in inside:
            each.data = each.data.to(device)
    for block in blocks:
        _bring_when_it_runs(block, device)


def _bring_when_it_runs(block: nn.Module, device: torch.device) -> None:
    homes: list[Tensor] = []

    def bring(*_: Any) -> None:
        for each in _tensors(block):
            homes.append(each.data)
            each.data = each.data.to(device, copy=True)

    def send_home(*_: Any) -> None:
        for each, home in zip(_tensors(block), homes, strict=True):
            each.data = home
        homes.clear()

    block.register_forward_pre_hook(bring)
    block.register_forward_hook(send_home, always_call=True)


def blocks_of(unet: VideoUNet) -> list[nn.Module]:
    """The resnets, transformers, samplers and temporal modules, none nested in another."""
    blocks: list[nn.Module] = []
    for module in unet.modules():  # outer modules come before inner ones
        if isinstance(module, BLOCKS) and not any(module in set(block.modules()) for block in blocks):
            blocks.append(module)
    return blocks


def block_bytes(unet: VideoUNet) -> int:
    """Bytes on the device at once with `offload_blocks`: the largest block and everything outside of blocks."""
    blocks = [weight_bytes(block) for block in blocks_of(unet)]
    return max(blocks, default=0) + weight_bytes(unet) - sum(blocks)


def weight_bytes(module: nn.Module) -> int:
    """Bytes of parameters and buffers."""
    return sum(each.numel() * each.element_size() for each in _tensors(module))


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
