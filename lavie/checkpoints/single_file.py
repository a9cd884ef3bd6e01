"""Stable Diffusion 1.x in a single file: its VAE and text encoder under the names of diffusers and transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import LavieError
from ..tensor_files import read_checkpoint
from .detect import detect

_VAE, _TEXT = "first_stage_model.", "cond_stage_model.transformer."

_RENAMED = (
    (r"\bmid\.block_1\.", "mid_block.resnets.0."),
    (r"\bmid\.block_2\.", "mid_block.resnets.1."),
    (r"\bmid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
    (r"\bmid\.attn_1\.(q|k|v)\.", r"mid_block.attentions.0.to_\1."),
    (r"\bmid\.attn_1\.proj_out\.", "mid_block.attentions.0.to_out.0."),
    (r"\bdown\.(\d+)\.block\.", r"down_blocks.\1.resnets."),
    (r"\bdown\.(\d+)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"\bup\.(\d+)\.block\.", r"up_blocks.\1.resnets."),
    (r"\bup\.(\d+)\.upsample\.", r"up_blocks.\1.upsamplers.0."),
    (r"\bnin_shortcut\.", "conv_shortcut."),
    (r"\bnorm_out\.", "conv_norm_out."),
)


@dataclass(frozen=True)
class SingleFileParts:
    """State dicts that `load_vae` (diffusers' names) and CLIPTextModel (transformers' names) take."""

    vae: dict[str, Tensor]
    text_encoder: dict[str, Tensor]


def single_file_parts(path: str | Path) -> SingleFileParts:
    """The VAE and the text encoder of a Stable Diffusion 1.x checkpoint in one file.

    Raises:
        LavieError: the file is not such a checkpoint.
    """
    checkpoint = read_checkpoint(path)
    found = detect(checkpoint.tensors)
    if found.kind != "sd1-checkpoint":
        raise LavieError(
            f"{checkpoint.path.name} seems to be {found.title}, but a Stable Diffusion 1.x checkpoint with VAE "
            "and text encoder is needed here."
        )
    vae = diffusers_vae_names(_below(checkpoint.tensors, _VAE))
    return SingleFileParts(vae, _text_names(_below(checkpoint.tensors, _TEXT)))


def diffusers_vae_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a VAE from Stable Diffusion's own names to those of diffusers' AutoencoderKL."""
    levels = 1 + max((int(m[1]) for m in (re.match(r"decoder\.up\.(\d+)\.", n) for n in tensors) if m), default=0)
    renamed = {}
    for name, tensor in tensors.items():
        if not name.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")):
            continue  # training losses and averages that some files contain
        # Stable Diffusion numbers the decoder's blocks by level, diffusers by execution.
        name = re.sub(r"^decoder\.up\.(\d+)", lambda m: f"decoder.up.{levels - 1 - int(m[1])}", name)
        for pattern, new in _RENAMED:
            name = re.sub(pattern, new, name)
        renamed[name] = tensor.flatten(1) if ".attentions." in name and tensor.ndim == 4 else tensor
    return renamed


def _text_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name if name.startswith("text_model.") else f"text_model.{name}": tensor
        for name, tensor in tensors.items()
        if not name.endswith("position_ids")
    }


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
