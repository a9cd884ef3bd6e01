"""The alpha of PEFT's LoRAs, which is stored beside the weights: in the metadata or in adapter_config.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..bounded import parse_json, read_text
from ..errors import LavieError
from ..tensor_files import Checkpoint
from .names import ALPHA, DOWN, Name, split
from .patterns import LayerPatterns

CONFIG_FILE = "adapter_config.json"
METADATA_KEY = "lora_adapter_metadata"  # diffusers/loaders/lora_base.py
_COMPONENTS = {"unet": "unet.", "te": "text_encoder."}


def stored_alphas(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """An alpha for every PEFT layer of the file that has none, in the file's own spelling: ….to_q.alpha.

    The strength is alpha / rank; PEFT's rank-stabilised alpha / √rank is converted to that. A config beside the file
    whose ranks differ from the file's belongs to another LoRA and is ignored.

    Raises:
        LavieError: there is a config, but it cannot be read.
    """
    layers: dict[str, tuple[Name, int]] = {}
    for tensor_name, tensor in checkpoint.tensors.items():
        stem, found, _ = tensor_name.rpartition(".lora_A")
        name = split(tensor_name)
        if not found or name is None or name.part != DOWN or tensor.ndim < 2 or not tensor.shape[0]:
            continue
        if f"{stem}.{ALPHA}" not in checkpoint.tensors:
            layers[stem] = (name, tensor.shape[0])
    alphas = {}
    for model, prefix in _COMPONENTS.items():
        own = {stem: layer for stem, layer in layers.items() if layer[0].model == model}
        config = _config(checkpoint, prefix)
        try:
            if own and config and {rank for _, rank in own.values()} <= _ranks(config):
                patterns = LayerPatterns(config.get("alpha_pattern") or {})
                alphas |= {
                    f"{stem}.{ALPHA}": torch.tensor(_alpha(*layer, config, patterns)) for stem, layer in own.items()
                }
        except (TypeError, ValueError, AttributeError) as error:
            raise LavieError(
                f"The adapter config stored with {checkpoint.path.name} cannot be understood ({error})."
            ) from error
    return alphas


def _config(checkpoint: Checkpoint, prefix: str) -> dict[str, Any]:
    """The config of the layers whose diffusers names begin with `prefix`, or {}."""
    if METADATA_KEY in checkpoint.metadata:
        config = parse_json(checkpoint.metadata[METADATA_KEY], f"The adapter config in {checkpoint.path.name}")
        own = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
        return own or {key: value for key, value in config.items() if "." not in key}
    path = checkpoint.path.with_name(CONFIG_FILE)
    return parse_json(read_text(path), f"The adapter config {path}") if path.is_file() else {}


def _ranks(config: Mapping[str, Any]) -> set[int | None]:
    return {config.get("r"), *(config.get("rank_pattern") or {}).values()}


def _alpha(name: Name, rank: int, config: Mapping[str, Any], patterns: LayerPatterns) -> float:
    # Source: peft/utils/other.py, get_pattern_key: a pattern fits the end of a layer's name.
    alpha = float(patterns.find(name.layer, config.get("lora_alpha", rank)))
    if not math.isfinite(alpha):
        raise ValueError(f"alpha {alpha}")
    return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha
