"""Clips from images, as if filmed by a hand-held camera (paper, section 4.3: images for the upscaler's training)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from .clip import Clip, ClipRequest
from .source import ClipSource

SPEED = 1.5  # pixels per frame: the walk's deviation in each direction
INERTIA = 0.95  # how much of its speed the hand keeps from frame to frame
ROOM = 1.2  # how much larger than the clip the image is


class Handheld(ClipSource):
    """Turns a source of images into a source of clips, in which the image moves as if the camera were in an unsteady
    hand.

    The frame rate of a request does not matter: the walk is in frames.
    """

    def __init__(self, images: ClipSource, speed: float = SPEED, name: str | None = None) -> None:
        self.images, self.speed = images, speed
        self.name = name or f"{images.name}, hand-held"
        self.report = images.report

    def __len__(self) -> int:
        return len(self.images)

    def caption(self, row: int, generator: torch.Generator) -> str:
        return self.images.caption(row, generator)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        height, width = math.ceil(ROOM * request.height), math.ceil(ROOM * request.width)
        still = replace(request, num_frames=1, fps=None, height=height, width=width)
        clip = self.images.read(row, still, generator)
        path = walk(request.num_frames, (height - request.height, width - request.width), generator, self.speed)
        moved = {
            name: crops(tensor[:, 0], path, request.height, request.width) for name, tensor in clip.tensors.items()
        }
        return replace(clip, tensors=moved)

    def fingerprint(self) -> str:
        return f"handheld {self.speed} {self.images.fingerprint()}"

    def order(self, *path: int | str) -> Tensor:
        return self.images.order(*path)


def walk(frames: int, room: tuple[int, int], generator: torch.Generator, speed: float = SPEED) -> Tensor:
    """The window's upper left corner in every frame, float32 [frames, 2] in pixels, within 0…room.

    A random walk of the velocity (an Ornstein-Uhlenbeck process of deviation `speed`), scaled down if it would leave
    the room, and otherwise starting at a random place.
    """
    kicks = speed * torch.randn(frames, 2, generator=generator)
    start = torch.rand(2, generator=generator)
    steps = [kicks[0]]
    for kick in kicks[1:]:
        steps.append(INERTIA * steps[-1] + math.sqrt(1 - INERTIA**2) * kick)
    path = torch.stack(steps).cumsum(0) - steps[0]
    path = path - path.amin(0)
    extent, limit = path.amax(0), torch.tensor(room, dtype=torch.float32)
    path = path * (limit / extent.clamp_min(1e-6)).clamp_max(1)
    return torch.minimum(path + start * (limit - path.amax(0)), limit).clamp_min(0)


def crops(image: Tensor, path: Tensor, height: int, width: int) -> Tensor:
    """The image [channels, H, W] seen through height×width windows at `path`, [channels, frames, height, width].

    Interpolates bilinearly between pixels; at whole positions the window is an exact crop.
    """
    return torch.stack([_crop_at(image, y, x, height, width) for y, x in path.tolist()], dim=1)


def _crop_at(image: Tensor, y: float, x: float, height: int, width: int) -> Tensor:
    part = _shifted(image, 1, y, height)
    return _shifted(part, 2, x, width)


def _shifted(image: Tensor, dim: int, start: float, length: int) -> Tensor:
    whole, fraction = math.floor(start), start - math.floor(start)
    near = image.narrow(dim, whole, length)
    return near.lerp(image.narrow(dim, whole + 1, length), fraction) if fraction else near
