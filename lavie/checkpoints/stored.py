"""Finds weights and their configs: in a folder, in a file's metadata, in a JSON file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..bounded import parse_json, read_text
from ..errors import LavieError
from ..models.restore import WEIGHT_FILES
from ..tensor_files import Checkpoint

CONFIG_KEY, STAGE_KEY, FAMILY_KEY = "lavie.config", "lavie.stage", "lavie.family"


def weights_file(path: str | Path) -> Path:
    """The weights file of a model folder (config.json and weights side by side); for a file, itself.

    Raises:
        LavieError: the folder holds no weights.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    found = next((path / name for name in WEIGHT_FILES if (path / name).is_file()), None)
    if found is None:
        raise LavieError(f"The folder {path} holds no weights: no {WEIGHT_FILES[0]} or {WEIGHT_FILES[1]}.")
    return found


def stored_config(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The UNet config that was saved with a checkpoint, or None.

    It is looked up in the file's metadata, then in NAME.json and config.json beside it. A config.json that describes
    another UNet (other input channels or widths) belongs to another file and is ignored.

    Raises:
        LavieError: a stored config is not readable as JSON.
    """
    if CONFIG_KEY in checkpoint.metadata:
        return _parse(checkpoint.metadata[CONFIG_KEY], f"the metadata of {checkpoint.path.name}")
    for path in (checkpoint.path.with_suffix(".json"), checkpoint.path.with_name("config.json")):
        if path.is_file():
            config = _parse(read_text(path), str(path))
            if _describes(config, checkpoint):
                return config
    return None


def _parse(text: str, where: str) -> dict[str, Any]:
    config = parse_json(text, f"The config in {where}", object)
    return config if isinstance(config, dict) else {}


def _describes(config: dict[str, Any], checkpoint: Checkpoint) -> bool:
    conv = checkpoint.tensors.get("conv_in.weight")
    widths = config.get("block_out_channels")
    if conv is None or conv.ndim != 4 or not isinstance(widths, list) or not widths:
        return False
    return (conv.shape[0], conv.shape[1]) == (widths[0], config.get("in_channels"))
