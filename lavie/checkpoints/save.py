"""Writes safetensors, completely or not at all, with the config inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..atomic import written_whole
from ..errors import LavieError
from ..models import VideoUNet
from .detect import detect
from .load import FREQUENCIES
from .stored import CONFIG_KEY, STAGE_KEY


def save_unet(
    unet: VideoUNet,
    path: str | Path,
    config: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    config_file: bool = False,
) -> Path:
    """Write a UNet as safetensors with its config in the metadata, completely or not at all.

    Args:
        unet: the network.
        path: the file to write.
        config: the config to store; None stores the UNet's own.
        dtype: the precision to convert to (rotary frequencies stay float32); None keeps each tensor's.
        config_file: also write config.json beside it.

    Raises:
        LavieError: the file cannot be written.
    """
    path = Path(path)
    config = dict(unet.config.to_dict() if config is None else config)
    tensors = {
        name: tensor.detach().to("cpu", None if name.endswith(FREQUENCIES) else dtype)
        for name, tensor in unet.state_dict().items()
    }
    write_safetensors(tensors, path, {CONFIG_KEY: json.dumps(config), STAGE_KEY: detect(tensors, config).stage or ""})
    if config_file:
        with written_whole(path.with_name("config.json")) as partial:
            partial.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return path


def write_safetensors(
    tensors: Mapping[str, Tensor], path: str | Path, metadata: Mapping[str, str], verify: bool = False
) -> None:
    """Write named CPU tensors; with `verify` the file is read back and compared before it gets its name.

    Raises:
        LavieError: the file cannot be written, or its content differs from what was written.
    """
    with written_whole(Path(path)) as partial:
        save_file(_separate(tensors), str(partial), metadata={"format": "pt", **metadata})
        if verify:
            _compare(partial, tensors)


def _compare(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with safe_open(str(path), framework="pt") as file:
        for name, tensor in tensors.items():
            if not torch.equal(file.get_tensor(name), tensor):
                raise LavieError(f"{name} was not written as it should be: is the disk sound?")


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors that share no memory, as the format requires; copies only where necessary."""
    taken: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        tensor = tensor.contiguous()
        tensor = tensor.clone() if tensor.untyped_storage().data_ptr() in taken else tensor
        taken.add(tensor.untyped_storage().data_ptr())
        result[name] = tensor
    return result
