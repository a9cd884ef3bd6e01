"""Procedurally rendered, captioned clips: one sprite that moves over a painted background."""

import torch

from .captions import caption, vocabulary
from .render import RGB, render, render_backgrounds
from .scene import (
    BACKGROUNDS,
    CAMERAS,
    COLOURS,
    DIRECTIONS,
    LASTING,
    MOTIONS,
    SHAPES,
    STILL_COLOURS,
    SUBJECTS,
    Scene,
    is_held_out,
    sample_scene,
)


def frame_times(frames: int) -> torch.Tensor:
    """Evenly spaced times from 0 to 1; a single frame stands in the middle."""
    return torch.linspace(0, 1, frames) if frames > 1 else torch.tensor([0.5])


def batch(
    generator: torch.Generator,
    size: int,
    frames: int = 16,
    height: int = 64,
    width: int = 96,
    held_out: bool = False,
    still: bool = False,
) -> dict:
    """`size` random clips: video [b, 3, f, h, w] in −1…1, mask [b, 1, f, h, w] in 0…1, captions and scenes.

    The generator alone decides them. With `still` the captions hold no words of motion.
    """
    scenes = [sample_scene(generator, held_out) for _ in range(size)]
    captions = [caption(scene, generator, still) for scene in scenes]
    video, mask = render(scenes, frame_times(frames), height, width)
    return {"video": video, "mask": mask, "captions": captions, "scenes": scenes}


__all__ = [
    "BACKGROUNDS",
    "CAMERAS",
    "COLOURS",
    "DIRECTIONS",
    "LASTING",
    "MOTIONS",
    "RGB",
    "SHAPES",
    "STILL_COLOURS",
    "SUBJECTS",
    "Scene",
    "batch",
    "caption",
    "frame_times",
    "is_held_out",
    "render",
    "render_backgrounds",
    "sample_scene",
    "vocabulary",
]
