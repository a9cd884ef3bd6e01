"""Reads a LoRA file into named tensors."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..checkpoints.load import require_sound_values
from ..errors import LavieError
from ..tensor_files import Checkpoint, read_checkpoint
from .alphas import stored_alphas
from .base import check_base

# The names of the weights in folders of PEFT and diffusers.
FOLDER_FILES = (
    "adapter_model.safetensors",
    "pytorch_lora_weights.safetensors",
    "adapter_model.bin",
    "pytorch_lora_weights.bin",
)


def read_lora(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a LoRA file under the file's own names, checked; `to_kohya` renames them to one scheme.

    If PEFT keeps alpha beside the weights (in the metadata, or in adapter_config.json), it is added as a tensor.
    Weights in 8-bit floating point become float16.

    Args:
        path: a .safetensors file, a pickle (opened without running code), or a folder that PEFT or diffusers wrote.

    Raises:
        LavieError: the file is missing, damaged, no LoRA, one for another model, quantised, or holds NaN.
    """
    checkpoint = read_checkpoint(_weights(Path(path)))
    check_base(checkpoint.tensors, checkpoint.path.name)
    tensors = {name: _plain(name, tensor, checkpoint) for name, tensor in checkpoint.tensors.items()}
    require_sound_values(tensors, checkpoint.path)
    return tensors | stored_alphas(checkpoint)


def _weights(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = next((path / name for name in FOLDER_FILES if (path / name).is_file()), None)
    if found is None:
        raise LavieError(f"The folder {path} holds no LoRA: no {FOLDER_FILES[0]} or {FOLDER_FILES[1]}.")
    return found


def _plain(name: str, tensor: Tensor, checkpoint: Checkpoint) -> Tensor:
    if tensor.is_floating_point():
        return tensor.half() if tensor.element_size() == 1 else tensor
    if tensor.numel() > 1 or tensor.is_complex():
        raise LavieError(f"{checkpoint.path.name} is quantised ({name} is {tensor.dtype}), which LaVie cannot use.")
    return tensor.float()
