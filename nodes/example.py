"""LaVie Example Video: a clip to try the workflows on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.errors import UsageError
from ..lavie.video import read_video
from .widgets import choice, integer

FOLDER = Path(__file__).parent.parent / "lavie" / "examples"


class LaVieExampleVideo:
    """A short clip that comes with the pack."""

    DESCRIPTION = (
        "A small clip that comes with this pack, so that a workflow runs as it is. For your own, use Load Video (and "
        "Get Video Components) or Load Image instead."
    )
    SEARCH_ALIASES: ClassVar = ["lavie example", "sample clip", "test video", "demo"]
    CATEGORY = "LaVie"
    FUNCTION = "load"
    RETURN_TYPES = ("IMAGE", "FLOAT")
    RETURN_NAMES = ("images", "fps")
    OUTPUT_TOOLTIPS = ("The frames.", "Frames per second.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        names = sorted(_files())
        return {
            "required": {
                "name": choice(names, names[0], "Which clip."),
                "num_frames": integer(0, 0, 1000, "How many frames to take from the start. 0: all."),
            }
        }

    def load(self, name: str, num_frames: int) -> tuple[Tensor, float]:
        if name not in _files():
            raise UsageError(f"There is no example '{name}'. Choose one from the list.")
        clip = read_video(_files()[name], num_frames or None)
        return torch.from_numpy(clip.frames).float() / 255, clip.fps


def _files() -> dict[str, Path]:
    return {path.stem: path for path in FOLDER.glob("*.mp4")}


NODES = {"LaVieExampleVideo": (LaVieExampleVideo, "LaVie Example Video")}
