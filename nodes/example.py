"""LaVie Example Video: a clip to try the workflows on."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ..lavie.errors import UsageError
from ..lavie.video import read_video
from .node import FPS, Node
from .widgets import choice, integer

FOLDER = Path(__file__).parent.parent / "lavie" / "examples"


class LaVieExampleVideo(Node):
    """A small clip that comes with this pack, so that a workflow runs as it is. For your own videos and images, use
    Load Video (and Get Video Components) or Load Image instead."""

    title = "LaVie Example Video"
    SEARCH_ALIASES: ClassVar = ["lavie example", "sample clip", "test video", "demo"]
    inputs: ClassVar = {
        "name": lambda: choice(sorted(_files()), min(_files()), "Which clip."),
        "num_frames": integer(0, 0, 1000, "How many frames to take from the start. 0: all."),
    }
    outputs: ClassVar = {"images": ("IMAGE", "The frames."), "fps": FPS}

    def run(self, name: str, num_frames: int) -> tuple[Tensor, float]:
        if name not in _files():
            raise UsageError(f"There is no example '{name}'. Choose one from the list.")
        clip = read_video(_files()[name], num_frames or None)
        return torch.from_numpy(clip.frames).float() / 255, clip.fps


def _files() -> dict[str, Path]:
    return {path.stem: path for path in FOLDER.glob("*.mp4")}
