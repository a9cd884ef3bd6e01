"""Stable Diffusion 1.x and its x4 upscaler in one file: the right names and layers at tiny sizes."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn

from support.networks import small_vae

WIDTH, HEADS, TOKENS = 32, 2, 77
_ORIGINAL = (
    (r"\bmid_block\.resnets\.0\.", "mid.block_1."),
    (r"\bmid_block\.resnets\.1\.", "mid.block_2."),
    (r"\bmid_block\.attentions\.0\.group_norm\.", "mid.attn_1.norm."),
    (r"\bmid_block\.attentions\.0\.to_(q|k|v)\.", r"mid.attn_1.\1."),
    (r"\bmid_block\.attentions\.0\.to_out\.0\.", "mid.attn_1.proj_out."),
    (r"\bdown_blocks\.(\d+)\.resnets\.", r"down.\1.block."),
    (r"\bdown_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample."),
    (r"\bup_blocks\.(\d+)\.resnets\.", r"up.\1.block."),
    (r"\bup_blocks\.(\d+)\.upsamplers\.0\.", r"up.\1.upsample."),
    (r"\bconv_shortcut\.", "nin_shortcut."),
    (r"\bconv_norm_out\.", "norm_out."),
)


def vae_in_a_file(*widths: int) -> tuple[nn.Module, dict[str, Tensor]]:
    """A VAE with random weights, and its tensors under the names of a single file."""
    torch.manual_seed(0)
    vae, levels = small_vae(*widths, norm_num_groups=32, layers_per_block=2), len(widths)
    content = {}
    for name, tensor in vae.state_dict().items():
        for pattern, original in _ORIGINAL:
            name = re.sub(pattern, original, name)
        name = re.sub(r"^decoder\.up\.(\d+)", lambda match: f"decoder.up.{levels - 1 - int(match[1])}", name)
        is_attention = ".attn_1." in name and tensor.ndim == 2
        content[f"first_stage_model.{name}"] = (tensor[..., None, None] if is_attention else tensor).clone()
    return vae, content


class OpenClip(nn.Module):
    """The text half of OpenCLIP, as Stable Diffusion 2 keeps it; gives the states after the last layer but one."""

    def __init__(self, layers: int, vocabulary: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, WIDTH)
        self.positional_embedding = nn.Parameter(torch.randn(TOKENS, WIDTH))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(_Block() for _ in range(layers))})
        self.ln_final = nn.LayerNorm(WIDTH)
        self.text_projection = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.logit_scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, numbers: Tensor, layers: int) -> Tensor:
        x = self.token_embedding(numbers) + self.positional_embedding
        for block in self.transformer["resblocks"][:layers]:
            x = block(x)
        return self.ln_final(x)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        parts = {"c_fc": nn.Linear(WIDTH, 2 * WIDTH), "gelu": nn.GELU(), "c_proj": nn.Linear(2 * WIDTH, WIDTH)}
        self.mlp = nn.Sequential()
        for name, part in parts.items():
            self.mlp.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        causal = torch.full((TOKENS, TOKENS), float("-inf")).triu(1)
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=causal, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


def x4_file(layers: int = 24, vocabulary: int = 8) -> tuple[OpenClip, nn.Module, dict[str, Tensor]]:
    """A text encoder, a VAE, and the content of the x4 upscaler's file with both."""
    vae, content = vae_in_a_file(32, 64, 96)
    torch.manual_seed(1)
    text = OpenClip(layers, vocabulary).eval()
    content |= {f"cond_stage_model.model.{name}": tensor.clone() for name, tensor in text.state_dict().items()}
    return text, vae, content | {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 7, 3, 3)}


def sd1_file(text_model: nn.Module) -> tuple[nn.Module, dict[str, Tensor]]:
    """A VAE, and the content of a Stable Diffusion 1.x file with it and this CLIPTextModel."""
    vae, content = vae_in_a_file(32, 32, 32, 32)
    for name, tensor in text_model.state_dict().items():
        content[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor.clone()
    content["cond_stage_model.transformer.text_projection.weight"] = torch.zeros(2, 2)
    return vae, content | {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(8, 4, 3, 3)}
