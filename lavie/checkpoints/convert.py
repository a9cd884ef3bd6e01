"""Converts any checkpoint to safetensors: a format that holds no code, opens at once and keeps its config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic import claimed
from ..errors import LavieError, UsageError
from ..file_names import is_same_file
from ..tensor_files import Checkpoint, read_checkpoint
from .checksum import sha256
from .detect import Detected, detect
from .load import (
    FREQUENCIES,
    is_finite,
    require_same_layout,
    require_sound_values,
    require_stage,
    unet_on_meta,
    with_rotary_frequencies,
)
from .save import write_safetensors
from .stored import CONFIG_KEY, STAGE_KEY, stored_config

_PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)


def convert_file(
    source: str | Path,
    destination: str | Path | None = None,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a checkpoint as safetensors with stage, config and the source's SHA-256 in its metadata.

    The file is written under a temporary name, read back and compared with the source, then renamed.

    Args:
        source: a UNet of any stage, a VAE, a text encoder or a Stable Diffusion 1.x file, in any container.
        destination: the file to write; by default the source's name with the ending .safetensors.
        dtype: float32, float16 or bfloat16 for the weights; None keeps the file's precision.
        overwrite: replace an existing file.

    Returns:
        source, destination, kind, stage, tensors, bytes, source_sha256.

    Raises:
        UsageError: the destination is the source or exists, or is not named .safetensors.
        LavieError: the source is no checkpoint that LaVie can use, or the file cannot be written.
    """
    source = Path(source)
    destination = source.with_suffix(".safetensors") if destination is None else Path(destination)
    _check_destination(source, destination, overwrite)
    with claimed(destination):
        return _convert(source, destination, dtype)


def _convert(source: Path, destination: Path, dtype: torch.dtype | None) -> dict[str, Any]:
    if dtype not in (None, *_PRECISIONS):
        raise UsageError(f"Weights can be converted to float32, float16 or bfloat16, not {dtype}.")
    checkpoint = read_checkpoint(source)
    found = detect(checkpoint.tensors, stored_config(checkpoint))
    tensors = _checked(checkpoint, found)
    converted = {name: _converted(name, tensor, dtype) for name, tensor in tensors.items()}
    origin = {"lavie.source": source.name, "lavie.source_sha256": sha256(source)}
    metadata = {**origin, "lavie.kind": found.kind}
    if found.kind == "unet":
        metadata |= {STAGE_KEY: found.stage or "", CONFIG_KEY: json.dumps(found.config)}
    write_safetensors(converted, destination, metadata, verify=True)
    return {
        "source": str(source),
        "destination": str(destination),
        "kind": found.kind,
        "stage": found.stage,
        "tensors": len(converted),
        "bytes": destination.stat().st_size,
        "source_sha256": origin["lavie.source_sha256"],
    }


def _check_destination(source: Path, destination: Path, overwrite: bool) -> None:
    if destination.suffix != ".safetensors":
        raise UsageError(f"{destination.name} does not end in .safetensors.")
    if is_same_file(destination, source):
        raise UsageError(f"{source.name} is a .safetensors file already; name another file to write to.")
    if destination.exists() and not overwrite:
        raise UsageError(f"{destination} is there already; remove it or choose another name.")


def _checked(checkpoint: Checkpoint, found: Detected) -> dict[str, Tensor]:
    if found.kind in ("foreign", "unknown"):
        raise LavieError(f"{checkpoint.path.name} seems to be {found.title}; LaVie has no use for it.")
    if found.kind != "unet":
        require_sound_values(checkpoint.tensors, checkpoint.path)
        return checkpoint.tensors
    require_stage(found, checkpoint.path, None)
    expected = unet_on_meta(found, checkpoint.path).state_dict()
    tensors = with_rotary_frequencies(checkpoint.tensors, expected)
    require_same_layout(tensors, expected, checkpoint.path, found)
    require_sound_values(tensors, checkpoint.path)
    return tensors


def _converted(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None or not tensor.is_floating_point() or name.endswith(FREQUENCIES):
        return tensor
    result = tensor.to(dtype)
    if not is_finite(result):
        raise LavieError(f"{name} has values too large for {str(dtype).removeprefix('torch.')}; choose bfloat16.")
    return result
