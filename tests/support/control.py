"""Control networks of diffusers with random weights, for a small base of Stable Diffusion's layout."""

from __future__ import annotations

from functools import cache

import diffusers
import torch
from torch import Tensor

from lavie.control.control import Control
from lavie.models import VideoUNet
from lavie.training.inflate import base_from_image

WIDTHS, TEXT, FRAMES = (32, 64, 64, 64), 16, 3
LAYOUT = {
    "block_out_channels": WIDTHS,
    "layers_per_block": 2,
    "cross_attention_dim": TEXT,
    "attention_head_dim": 1,
    "norm_num_groups": 8,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
}
OFFICIAL = {
    **LAYOUT,
    "down_block_types": ["CrossAttnDownBlock3D"] * 3 + ["DownBlock3D"],
    "up_block_types": ["UpBlock3D"] + ["CrossAttnUpBlock3D"] * 3,
}


def random(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Zero convolutions get weights, too."""
    generator = torch.Generator().manual_seed(seed)
    for weight in network.parameters():
        spread = 0.05 if weight.ndim == 1 else weight[0].numel() ** -0.5
        weight.data = (weight.data if weight.ndim == 1 else 0) + spread * torch.randn(weight.shape, generator=generator)
    return network.eval().requires_grad_(False)


@cache
def image_unet() -> torch.nn.Module:
    ups = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    return random(diffusers.UNet2DConditionModel(up_block_types=ups, sample_size=16, **LAYOUT), 1)


@cache
def video_unet() -> VideoUNet:
    """LaVie's network with its weights."""
    return base_from_image(image_unet().state_dict(), OFFICIAL).eval().requires_grad_(False)


@cache
def control_net(seed: int = 2) -> torch.nn.Module:
    return random(diffusers.ControlNetModel(**LAYOUT), seed)


@cache
def adapter(kind: str = "full_adapter") -> torch.nn.Module:
    channels = list(WIDTHS if kind == "full_adapter" else WIDTHS[:-1])
    return random(diffusers.T2IAdapter(3, channels, 2 if kind == "full_adapter" else 4, 8, kind), 3)


def inputs(frames: int = FRAMES, clips: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Latents [clips, 4, frames, 16, 16], text [clips, 7, TEXT], hints uint8 [frames, 128, 128, 3]."""
    generator = torch.Generator().manual_seed(4)
    hint = torch.randint(0, 256, (frames, 128, 128, 3), generator=generator, dtype=torch.uint8)
    latents = torch.randn(clips, 4, frames, 16, 16, generator=generator)
    return latents, torch.randn(clips, 7, TEXT, generator=generator), hint


def compvis(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A ControlNet's tensors under the names of lllyasviel's files."""
    resnet = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    named = {}
    for name, tensor in tensors.items():
        *path, kind = name.split(".")
        if path[0] == "down_blocks":
            level, part, layer, *inner = path[1:]
            number = 1 + 3 * int(level) + (2 if part == "downsamplers" else int(layer))
            inner = ["op"] if part == "downsamplers" else [resnet.get(inner[0], inner[0]), *inner[1:]]
            path = [f"input_blocks.{number}.{int(part == 'attentions')}", *inner]
        elif path[0] == "mid_block":
            place = {"resnets.0": 0, "attentions.0": 1, "resnets.1": 2}[".".join(path[1:3])]
            path = [f"middle_block.{place}", resnet.get(path[3], path[3]), *path[4:]]
        elif path[0] == "controlnet_cond_embedding":
            place = {"conv_in": 0, "conv_out": 7}.get(path[1], 0) or (int(path[2]) + 1 if path[1] == "blocks" else 0)
            path = [f"input_hint_block.{2 * place}"]
        else:
            path = {
                "conv_in": ["input_blocks.0.0"],
                "time_embedding": ["time_embed", "0" if path[-1] == "linear_1" else "2"],
                "controlnet_mid_block": ["middle_block_out.0"],
                "controlnet_down_blocks": ["zero_convs", path[-1], "0"],
            }[path[0]]
        named[".".join(["control_model", *path, kind])] = tensor
    return named


def saved(folder, network: torch.nn.Module | None = None, name: str = "net.safetensors"):
    """The file of a network."""
    from safetensors.torch import save_file

    save_file((network or control_net()).state_dict(), folder / name)
    return folder / name


def hinted(folder, network: torch.nn.Module | None = None, **settings):
    """A `Control` of that network and the hints of `inputs`, loaded for the small base."""
    settings.setdefault("video", inputs()[2].numpy())
    control = Control(saved(folder, network), **settings)
    return control.loaded(video_unet().config)
