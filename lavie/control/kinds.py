"""Kinds of control, by the names that their ControlNets have, and the maps that OpenCV makes of a video for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import LavieError, UsageError
from .maps import canny, lineart

ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


@dataclass(frozen=True)
class Kind:
    """One kind. word: in the name of its file, as in control_v11p_sd15_openpose. maps: makes maps of frames, both uint8
    [F, height, width, 3]; None: the video holds the maps already."""

    name: str
    word: str
    maps: Callable[[np.ndarray], np.ndarray] | None = None


KINDS = {
    kind.name: kind
    for kind in (
        Kind("canny", "canny", canny),
        Kind("lineart", "lineart", lineart),
        *(Kind(name, name) for name in ("depth", "openpose", "softedge", "scribble", "seg", "mlsd", "tile")),
        Kind("normal", "normal(bae)?"),
        Kind("image", ""),
    )
}


def find_network(kind: Kind, folders: Iterable[Path]) -> Path:
    """The ControlNet of that kind in one of the folders: a file, or a diffusers folder, with the kind in its name.

    Raises:
        UsageError: there is none; says what to place where.
    """
    folders = list(folders)
    if not kind.word:
        raise UsageError(
            f"{kind.name} says no ControlNet: add its file, as in --control {kind.name}=net.safetensors:VIDEO."
        )
    pattern = re.compile(rf"(^|[^a-z]){kind.word}([^a-z]|$)", re.IGNORECASE)
    for folder in folders:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if pattern.search(path.stem) and (path.is_dir() or path.suffix in ENDINGS):
                return path
    raise UsageError(
        f"There is no ControlNet for {kind.name} in {' or '.join(map(str, folders))}: place a file there whose name "
        f"holds that word, or name one, as in --control {kind.name}=net.safetensors:VIDEO."
    )


def maps_of(kind: Kind, frames: np.ndarray) -> np.ndarray:
    """The maps that a control of this kind follows, of a video uint8 [F, height, width, 3].

    Raises:
        LavieError: OpenCV is needed and not installed.
    """
    if kind.maps is None:
        return frames
    try:
        return kind.maps(frames)
    except ImportError as missing:
        raise LavieError(
            f"Maps for {kind.name} are made with OpenCV, which is not installed. Run: pip install "
            "opencv-python-headless. Or give a video that holds the maps, and a ControlNet's file in place of the kind."
        ) from missing
