"""Control networks and a MODEL of ComfyUI with random weights, in the layout of Stable Diffusion 1.x at small widths.

Only for tests that run inside ComfyUI.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import comfy.t2i_adapter.adapter
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

from support.graph import part, stage

WIDTH, MULTIPLES, HEADS, TEXT = 32, (1, 1, 2, 2), 1, 128
LAYERS: dict[str, Any] = {
    "image_size": 32,
    "in_channels": 4,
    "model_channels": WIDTH,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": list(MULTIPLES),
    "num_heads": HEADS,
    "use_spatial_transformer": True,
    "transformer_depth_middle": 1,
    "context_dim": TEXT,
    "legacy": False,
    "dtype": torch.float32,
    "operations": comfy.ops.disable_weight_init,
}
DOWN, UP = [1] * 6 + [0] * 2, [1] * 9 + [0] * 3


def random(network: torch.nn.Module, seed: int, scale: float = 1.0) -> torch.nn.Module:
    """Weights as small as a trained network's, the same ones every time."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in network.named_parameters():
        spread = scale / max(1, weight[0].numel()) ** 0.5 if weight.ndim > 1 else 0.05
        drawn = spread * torch.randn(weight.shape, generator=generator)
        weight.data = drawn + (1 if weight.ndim == 1 and name.endswith("weight") else 0)
    return network.eval().requires_grad_(False)


@cache
def image_unet() -> torch.nn.Module:
    """The host's own Stable Diffusion UNet."""
    return random(UNetModel(out_channels=4, transformer_depth=DOWN[:], transformer_depth_output=UP[:], **LAYERS), 1)


def video_unet(in_channels: int = 4) -> torch.nn.Module:
    """LaVie's with its weights; what looks along the frames adds something, too."""
    inflate = part("lavie.training.inflate")
    widths = [WIDTH * multiple for multiple in MULTIPLES]
    config = {
        "block_out_channels": widths,
        "down_block_types": ["CrossAttnDownBlock3D"] * 3 + ["DownBlock3D"],
        "up_block_types": ["UpBlock3D"] + ["CrossAttnUpBlock3D"] * 3,
        "layers_per_block": 2,
        "attention_head_dim": HEADS,
        "cross_attention_dim": TEXT,
        "norm_num_groups": 32,
    }
    weights = {f"model.diffusion_model.{name}": tensor for name, tensor in image_unet().state_dict().items()}
    return inflate.base_from_image(weights, config)


@cache
def model() -> Any:
    """A MODEL with that network."""
    info, host = stage("base").model.model.lavie, part("nodes.host")
    return host.make_model(video_unet().eval().requires_grad_(False), info, part("nodes.wired").refuse_unused)


@cache
def control_net(seed: int = 2) -> Any:
    network = comfy.cldm.cldm.ControlNet(hint_channels=3, transformer_depth=DOWN[:], **LAYERS)
    return comfy.controlnet.ControlNet(random(network, seed), load_device=torch.device("cpu"))


@cache
def adapter() -> Any:
    channels = [WIDTH * multiple for multiple in MULTIPLES]
    network = comfy.t2i_adapter.adapter.Adapter(
        cin=192, channels=channels, nums_rb=2, ksize=1, sk=True, use_conv=False, xl=False
    )
    return comfy.controlnet.T2IAdapter(random(network, 3), 3, 8, "nearest-exact", device=torch.device("cpu"))
