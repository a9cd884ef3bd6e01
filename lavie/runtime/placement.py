"""Where the parts of a stage are while it works: all on the device, one at a time, or the UNet block by block."""

from __future__ import annotations

import torch
from torch import nn

from ..errors import LavieError
from ..models import VideoUNet

CPU = torch.device("cpu")


class Placement:
    """Brings a stage's parts to the device when they are used, and keeps the others in main memory.

    mode: "none", "parts" or "blocks", as in `Means.offload`.
    """

    def __init__(self, unet: VideoUNet, vae: nn.Module, text_encoder: nn.Module, device: torch.device) -> None:
        self.parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder}
        self.device = device
        self.mode = "none"
        self._by_blocks = False

    def bring(self, name: str) -> None:
        """The part of that name is about to be used."""
        for other, part in self.parts.items():
            if other != name and self.mode != "none":
                self._move(other, part, CPU)
        self._move(name, self.parts[name], self.device)

    def weight_bytes(self) -> int:
        """Of the parts that are on the device now."""
        on_device = (each for each in self.parts.values() if next(each.parameters()).device.type == self.device.type)
        return sum(map(weight_bytes, on_device))

    def _move(self, name: str, part: nn.Module, device: torch.device) -> None:
        if name == "unet" and self.mode == "blocks" and not self._by_blocks:
            offload_blocks(part, self.device)
            self._by_blocks = True
        if name == "unet" and self._by_blocks:
            return
        if next(part.parameters()).device != device:
            part.to(device)


def offload_blocks(unet: VideoUNet, device: torch.device) -> None:
    """From now on every block of the UNet comes to the device when it runs, and goes when it is done.

    Raises:
        LavieError: this diffusers has no group offloading (0.33 and later have).
    """
    try:
        from diffusers.hooks import apply_group_offloading
    except ImportError as lack:
        raise LavieError("So little memory needs diffusers 0.33 or newer, which moves single blocks.") from lack
    apply_group_offloading(unet, device, CPU, offload_type="block_level", num_blocks_per_group=1)


def block_bytes(unet: VideoUNet) -> int:
    """Weights on the device at once where `offload_blocks` is on: the largest block and all outside of blocks."""
    lists = [child for child in unet.children() if isinstance(child, nn.ModuleList)]
    blocks = [weight_bytes(block) for each in lists for block in each]
    return max(blocks) + weight_bytes(unet) - sum(blocks)


def weight_bytes(module: nn.Module) -> int:
    """Parameters and buffers."""
    return sum(each.numel() * each.element_size() for each in (*module.parameters(), *module.buffers()))
