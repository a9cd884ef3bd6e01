"""Stable Diffusion 1.x or its x4 upscaler in a single file: the VAE and text encoder under the names of diffusers and
transformers, and where to find such a file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ..errors import LavieError
from ..tensor_files import read_checkpoint, read_layout
from .detect import detect

SINGLE_FILES = ("sd1-checkpoint", "x4-checkpoint")
SUFFIXES = (".safetensors", ".ckpt")
ORIGINALS = ("v1-5-pruned", "sd-v1-", "x4-upscaler")  # how the released files' names begin

_VAE, _CLIP, _OPENCLIP = "first_stage_model.", "cond_stage_model.transformer.", "cond_stage_model.model."
_LAYERS_OF_OPENCLIP = 23  # the last of 24 is never used: see OPENCLIP_H

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


def find_single_file(folders: Iterable[Path], kind: str, below: bool = False) -> Path | None:
    """A file of this kind (one of `SINGLE_FILES`) in these folders, which need not exist, or also `below` them.

    Released files come before others, safetensors before pickles, then names in alphabetical order; the folders in
    their order. Only headers are read, and a file that cannot be read is passed over.
    """
    for folder in folders:
        for path in sorted(_files_in(folder, below), key=_preference):
            state = path.stat()
            if _kind(path, state.st_mtime_ns, state.st_size) == kind:
                return path
    return None


def _files_in(folder: Path, below: bool) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, followlinks=True):
        yield from (Path(place, name) for name in names if name.endswith(SUFFIXES) and Path(place, name).is_file())
        if not below:
            folders.clear()


def _preference(path: Path) -> tuple[bool, bool, str]:
    return not path.name.startswith(ORIGINALS), path.suffix == ".ckpt", str(path)


@lru_cache(maxsize=4096)
def _kind(path: Path, _modified: int, _size: int) -> str:
    try:
        return detect(read_layout(path).tensors).kind
    except LavieError:  # nobody asked for this file
        return "unreadable"


def single_file_parts(path: str | Path) -> SingleFileParts:
    """The VAE and the text encoder of Stable Diffusion 1.x, or of its x4 upscaler, in one file.

    Raises:
        LavieError: the file is no such checkpoint.
    """
    checkpoint = read_checkpoint(path)
    found = detect(checkpoint.tensors)
    if found.kind not in SINGLE_FILES:
        raise LavieError(
            f"{checkpoint.path.name} seems to be {found.title}, but a Stable Diffusion 1.x checkpoint with VAE "
            "and text encoder is needed here."
        )
    vae = diffusers_vae_names(_below(checkpoint.tensors, _VAE))
    if found.kind == "x4-checkpoint":
        return SingleFileParts(vae, _openclip_names(_below(checkpoint.tensors, _OPENCLIP)))
    return SingleFileParts(vae, _clip_names(_below(checkpoint.tensors, _CLIP)))


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


def _clip_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Some files lack `text_model.`; some also hold a projection, which nothing reads."""
    named = {name if name.startswith("text_model.") else f"text_model.{name}": each for name, each in tensors.items()}
    parts = ("text_model.embeddings.", "text_model.encoder.", "text_model.final_layer_norm.")
    return {
        name: tensor for name, tensor in named.items() if name.startswith(parts) and not name.endswith("position_ids")
    }


_OPENCLIP_NAMES = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPENCLIP_LAYERS = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def _openclip_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's text model, which Stable Diffusion 2 and the x4 upscaler take the last layer but one of."""
    renamed = {f"text_model.{new}": tensors[old] for old, new in _OPENCLIP_NAMES.items() if old in tensors}
    for name, tensor in tensors.items():
        block = re.match(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)$", name)
        if block is None or int(block[1]) >= _LAYERS_OF_OPENCLIP:
            continue
        layer, module, kind = f"text_model.encoder.layers.{block[1]}", block[2], block[3]
        if module == "attn.in_proj":
            for half, part in zip("qkv", torch.chunk(tensor, 3), strict=True):
                renamed[f"{layer}.self_attn.{half}_proj.{kind}"] = part
        elif module in _OPENCLIP_LAYERS:
            renamed[f"{layer}.{_OPENCLIP_LAYERS[module]}.{kind}"] = tensor
    return renamed


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
