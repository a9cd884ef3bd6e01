"""Puts weights into a network exactly, and reads folders in the format of diffusers and transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..bounded import read_json
from ..errors import LavieError
from ..tensor_files import read_state_dict

WEIGHT_FILES = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "pytorch_model.bin",
    "diffusion_pytorch_model.bin",
)

Network = TypeVar("Network", bound=nn.Module)


def restore(
    build: Callable[[], Network],
    tensors: Mapping[str, Tensor],
    title: str,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Network:
    """Builds a network without spending time on random weights, and gives it exactly these tensors.

    Args:
        build: makes the network; called with the meta device as default.
        tensors: its state dict; tensors that need no conversion are shared with the network, not copied.
        title: what and where the weights are, for the error: "the VAE in folder/vae".
        dtype: of the network, float32 by default; device: the CPU by default.

    Raises:
        LavieError: tensors are missing, unexpected or of another shape; names the first few.
    """
    with torch.device("meta"):
        network = build()
    differences = compare(network.state_dict(), tensors)
    if differences:
        raise LavieError(f"The weights of {title} do not fit: {differences}.")
    dtype, device = dtype or torch.float32, device or "cpu"
    tensors = {name: tensor.to(device, dtype) for name, tensor in tensors.items()}
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval()


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """One clause that tells how two state dicts differ in names and shapes; empty if they do not."""
    shapes = [
        f"{name} {list(found[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    parts = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "of another shape": shapes,
    }
    return "; ".join(f"{len(names)} {word} ({_first(names)})" for word, names in parts.items() if names)


def read_folder(folder: Path, what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the tensors of a model folder as diffusers and transformers save it.

    Raises:
        LavieError: the folder, its config.json or its weights are missing or unreadable.
    """
    path = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if path is None:
        raise LavieError(f"There is no {what} in {folder}: it holds none of {_first(WEIGHT_FILES)}.")
    return read_config(folder / "config.json", what), read_state_dict(path)


def read_config(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file; raises LavieError if it is missing or no JSON object."""
    if not path.exists():
        raise LavieError(f"There is no {path.name} in {path.parent}, which the {what} needs.")
    return read_json(path)


def _first(names: list[str] | tuple[str, ...], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
