"""What was fitted, as one small file: the weights that tell names, and the counts of colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .classes import Classes
from .colours import Colours

FITTED = Path(__file__).with_name("fitted.npz")
PARTS = ("mean", "scale", "axes", "weights")
MOST = 60000  # the largest count in the file; colours that are seen more often than that are all common enough


def save(classes: dict[str, Classes], colours: Colours, file: Path = FITTED) -> None:
    arrays: dict[str, Any] = {}
    for name, each in classes.items():
        arrays[f"class/{name}/names"] = np.array(each.names)
        arrays |= {f"class/{name}/{part}": getattr(each, part).half().numpy() for part in PARTS}
    for kind in ("scenes", "guests"):
        for key, counts in getattr(colours, kind).items():
            arrays[f"{kind}/{'/'.join(key)}"] = counts.clamp(max=MOST).numpy().astype(np.uint16)
    np.savez_compressed(file, **arrays)


def load(file: Path = FITTED) -> tuple[dict[str, Classes], Colours]:
    """What `save` wrote; float32.

    Raises:
        FileNotFoundError: nothing was fitted: `python -m lab.judge.fit`.
    """
    parts: dict[str, dict] = {}
    colours = Colours({}, {})
    with np.load(file) as arrays:
        for path in arrays.files:
            kind, first, second = path.split("/")
            if kind == "class":
                parts.setdefault(first, {})[second] = arrays[path]
            else:
                getattr(colours, kind)[first, second] = _tensor(arrays[path])
    classes = {
        name: Classes(tuple(found["names"].tolist()), *(_tensor(found[part]) for part in PARTS))
        for name, found in parts.items()
    }
    return classes, colours


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
