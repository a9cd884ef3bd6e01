"""Renders scenes to pixels, with everything that is known exactly about them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .guests import paint_guest
from .land import paint_land
from .scene import Scene
from .sky import sky
from .view import SECONDS, View, view
from .water import WATERS, water
from .weather import weather


@dataclass(frozen=True)
class Rendering:
    """video: [3, frames, h, w] in −1…1. mask: the guest's coverage, nearness (0 the sky, 1 the lens) and edges of
    what is in sight, [1, frames, h, w] in 0…1. view: the camera's pan, tilt and zoom at every frame."""

    video: Tensor
    mask: Tensor
    nearness: Tensor
    edges: Tensor
    view: View


def frame_seconds(frames: int) -> Tensor:
    """The moments of so many frames of a whole clip; a single frame is in its middle."""
    return torch.linspace(0, SECONDS, frames) if frames > 1 else torch.tensor([SECONDS / 2])


def render(scene: Scene, seconds: Tensor, height: int = 64, width: int = 96) -> Rendering:
    """Paints the scene at these moments, [frames]; at another size or frame rate it is the same scene."""
    seen = view(scene.camera, seconds, height, width)
    canvas = sky(scene, seen)
    paint_land(scene, seen, canvas)
    if scene.place in WATERS:
        water(scene, seen, canvas)
    weather(scene, seen, canvas)
    shape = (len(seconds), height, width)
    mask = torch.zeros(shape) if scene.guest is None else paint_guest(scene, seen, canvas)
    mask, nearness, edges = (each.expand(shape)[None] for each in (mask, canvas.nearness, canvas.edges))
    return Rendering(canvas.colour.expand(3, *shape).clamp(0, 1).mul(2).sub(1), mask, nearness, edges, seen)
