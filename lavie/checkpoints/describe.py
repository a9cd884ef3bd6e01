"""What `lavie info FILE` says about a checkpoint file or a model folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..bounded import read_json
from ..errors import LavieError
from ..tensor_files import Checkpoint, read_layout
from .detect import detect
from .stored import stored_config, weights_file


def describe(path: str | Path) -> dict[str, Any]:
    """Describe a checkpoint or a model folder without reading its weights; the values are plain JSON.

    A file gives path, kind, stage, variant, title, layout ("released" or "small" UNet sizes), container,
    wrapper, bytes, tensors, parameters, dtypes (tensors by precision), config, assumed (config fields that nothing
    determines), and metadata. A folder of several models gives path, kind, title and parts.

    Raises:
        LavieError: the path does not exist, or cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return _describe_folder(path)
    checkpoint = read_layout(path)
    found = detect(checkpoint.tensors, stored_config(checkpoint))
    return {
        "path": str(path),
        "kind": found.kind,
        "stage": found.stage,
        "variant": found.variant,
        "title": found.title,
        "layout": found.layout,
        **_measures(checkpoint),
        "config": found.config,
        "assumed": list(found.assumed),
        "metadata": checkpoint.metadata,
    }


def _measures(checkpoint: Checkpoint) -> dict[str, Any]:
    tensors = checkpoint.tensors
    precisions = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    return {
        "container": checkpoint.container,
        "wrapper": checkpoint.wrapper,
        "bytes": checkpoint.path.stat().st_size,
        "tensors": len(tensors),
        "parameters": _parameters(tensors),
        "dtypes": dict(precisions.most_common()),
    }


def _parameters(tensors: Mapping[str, Tensor]) -> int:
    """Counted as in the official models: the rotary frequencies, one tensor under many names, count once."""
    counted = {
        name: t.numel() for name, t in tensors.items() if not name.endswith(("rotary_emb.freqs", "position_ids"))
    }
    frequencies = next((t.numel() for name, t in tensors.items() if name.endswith("rotary_emb.freqs")), 0)
    return sum(counted.values()) + frequencies


def _describe_folder(folder: Path) -> dict[str, Any]:
    released = sorted(file.name for file in folder.glob("lavie_*") if file.suffix in (".pt", ".safetensors"))
    parts = sorted(part.name for part in folder.iterdir() if part.is_dir() and (part / "config.json").is_file())
    if (folder / "family.json").is_file():
        kind, title = "family", f"a LaVie model family ({_name_in(folder / 'family.json', 'name')})"
    elif released:
        kind, title, parts = "family", "a folder of released LaVie weights", released + parts
    elif (folder / "model_index.json").is_file():
        kind, title = "diffusers", f"a diffusers folder ({_name_in(folder / 'model_index.json', '_class_name')})"
    elif (folder / "config.json").is_file():
        return describe(weights_file(folder))
    else:
        raise LavieError(f"The folder {folder} holds no model: no family.json, model_index.json or config.json.")
    return {"path": str(folder), "kind": kind, "title": title, "parts": parts}


def _name_in(path: Path, key: str) -> str:
    return str(read_json(path).get(key, "without a name"))[:100]
