"""Renames any LoRA to kohya's names, which ComfyUI and most other programs read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import LavieError
from .base import check_base
from .names import ALPHA, DORA, DOWN, MID, UP, is_temporal, split

_NO_PART_OF_IT = ("bundle_emb.",)  # textual inversions that some programs store in the same file


def to_kohya(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A LoRA under kohya's names: lora_unet_….lora_down.weight, .lora_up.weight, .alpha; lora_te_text_model_….

    The layer in a name is that of a UNet's (or CLIP text model's) parameter with underscores for points. A missing
    alpha is the rank, so that the strength is 1. Other adapters (LoCon, LoHa, LoKr, DoRA, whole
    differences) keep their tensors as they are. Temporal layers are left out; see `temporal_layers`.

    Args:
        tensors: as `read_lora` gives them.

    Raises:
        LavieError: a LoRA for another model (see `check_base`), half a layer, ranks that disagree, a layer twice.
    """
    check_base(tensors)
    converted: dict[str, Tensor] = {}
    for tensor_name, tensor in tensors.items():
        if tensor_name.startswith(_NO_PART_OF_IT) or is_temporal(tensor_name):
            continue
        name = split(tensor_name)
        if name is None:
            raise LavieError(f"The LoRA holds {tensor_name}, which is no part of a LoRA in any known spelling.")
        key = f"{name.kohya}.{name.part}"
        if key in converted:
            raise LavieError(f"The LoRA holds {name.layer} twice; keep one of its adapters only.")
        if name.part == ALPHA and tensor.numel() != 1:
            raise LavieError(f"The LoRA is damaged: the alpha of {name.layer} is no single number.")
        converted[key] = _per_output(tensor) if name.part == DORA else tensor
    ranks = {layer: _rank(layer, converted) for layer in _layers(converted)}
    alphas = {f"{layer}.{ALPHA}": torch.tensor(float(rank)) for layer, rank in ranks.items()}
    return alphas | converted


def temporal_layers(tensors: Mapping[str, Tensor]) -> list[str]:
    """The temporal layers of a LoRA, which `to_kohya` leaves out."""
    names = (split(name) for name in tensors if is_temporal(name))
    return sorted({name.layer for name in names if name is not None})


def _layers(tensors: Mapping[str, Tensor]) -> list[str]:
    """The layers with a plain LoRA, in kohya's spelling."""
    endings = (f".{DOWN}", f".{UP}")
    return sorted({name.rpartition(".lora_")[0] for name in tensors if name.endswith(endings)})


def _rank(layer: str, tensors: Mapping[str, Tensor]) -> int:
    """The rank of one layer, whose parts must match: down [rank, in, …], up [out, rank, …]."""
    down, up, mid = (tensors.get(f"{layer}.{part}") for part in (DOWN, UP, MID))
    if down is None or up is None:
        missing, there = ("down", "up") if down is None else ("up", "down")
        raise LavieError(f"The LoRA is incomplete: {layer} has a lora_{there} but no lora_{missing}.")
    if min(down.ndim, up.ndim, 2 if mid is None else mid.ndim) < 2 or 0 in (*down.shape, *up.shape):
        raise LavieError(f"The LoRA is damaged: {layer} has weights that are no matrices.")
    inner = {down.shape[0], up.shape[1]} | (set() if mid is None else set(mid.shape[:2]))
    if len(inner) > 1:
        raise LavieError(
            f"The LoRA is damaged: the ranks of {layer} disagree (down {down.shape[0]}, up {up.shape[1]})."
        )
    return down.shape[0]


def _per_output(magnitudes: Tensor) -> Tensor:
    """DoRA's magnitudes, PEFT's [out] or [1, out, 1, 1], as kohya's [out, 1] or [out, 1, 1, 1]; kohya's stay."""
    if magnitudes.ndim == 1:
        return magnitudes[:, None]
    return magnitudes.transpose(0, 1) if magnitudes.ndim == 4 and magnitudes.shape[0] == 1 else magnitudes
