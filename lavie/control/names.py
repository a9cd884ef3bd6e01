"""Names of ControlNets and T2I-Adapters in their authors' files, as diffusers has them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ..lora.compvis import RESNET

CONTROL_NET, OF_FILE = "controlnet_cond_embedding.conv_in.weight", "control_model."
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_TIME = {"0": "linear_1", "2": "linear_2"}
_PLACE = re.compile(r"input_blocks\.(\d+)\.(\d)(?:\.(.+))?\.(weight|bias)")


def control_net_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A ControlNet's tensors under diffusers' names; those of lllyasviel's files are in Stable Diffusion's own."""
    tensors = {name.removeprefix(OF_FILE): tensor for name, tensor in tensors.items()}
    if CONTROL_NET in tensors:
        return tensors
    blocks = _blocks(tensors)
    hints = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("input_hint_block.")})
    return {_renamed(name, blocks, hints): tensor for name, tensor in tensors.items()}


def _blocks(tensors: Mapping[str, Tensor]) -> dict[int, str]:
    """Where each input block is in diffusers' network: "down_blocks.1.{}.0", or a downsampler."""
    found = {int(match[1]) for match in map(_PLACE.fullmatch, tensors) if match}
    blocks, level, layer = {0: "conv_in"}, 0, 0
    for number in sorted(found - {0}):
        if f"input_blocks.{number}.0.op.weight" in tensors:
            blocks[number] = f"down_blocks.{level}.downsamplers.0.conv"
            level, layer = level + 1, 0
        else:
            blocks[number] = f"down_blocks.{level}.{{}}.{layer}"
            layer += 1
    return blocks


def _renamed(name: str, blocks: Mapping[int, str], hints: list[int]) -> str:
    head, _, rest = name.partition(".")
    number, _, inner = rest.partition(".")
    if found := _PLACE.fullmatch(name):
        place = blocks[int(found[1])]
        if "{}" not in place:
            return f"{place}.{found[4]}"
        kind = "resnets" if found[2] == "0" else "attentions"
        return f"{place.format(kind)}.{_resnet(found[3])}.{found[4]}"
    if head == "time_embed":
        return f"time_embedding.{_TIME.get(number, number)}.{inner}"
    if head == "middle_block":
        layer, _, kind = inner.rpartition(".")
        return f"mid_block.{_MIDDLE.get(number, number)}.{_resnet(layer)}.{kind}"
    if head == "middle_block_out":
        return f"controlnet_mid_block.{inner}"
    if head == "zero_convs":
        return f"controlnet_down_blocks.{number}.{inner.removeprefix('0.')}"
    if head == "input_hint_block":
        place = hints.index(int(number))
        inside = {0: "conv_in", len(hints) - 1: "conv_out"}.get(place, f"blocks.{place - 1}")
        return f"controlnet_cond_embedding.{inside}.{inner}"
    return name


def _resnet(layer: str) -> str:
    return RESNET.get(layer.replace(".", "_"), layer)


def adapter_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A T2I-Adapter's tensors under diffusers' names; TencentARC's files count the blocks of all levels."""
    if any(name.startswith("adapter.") for name in tensors):
        return dict(tensors)
    light, renamed = "body.0.in_conv.weight" in tensors, {}
    for name, tensor in tensors.items():
        head, _, rest = name.partition(".")
        if head == "body":
            number, _, inner = rest.partition(".")
            renamed[f"adapter.body.{_inside(int(number), inner, light)}"] = tensor
        else:
            renamed[f"adapter.{name}"] = tensor
    return renamed


def _inside(number: int, inner: str, light: bool) -> str:
    if light:
        return f"{number}.{re.sub(r'^body', 'resnets', inner)}"
    level, layer = divmod(number, 2)
    return f"{level}.{inner}" if inner.startswith("in_conv") else f"{level}.resnets.{layer}.{inner}"
