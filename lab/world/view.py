"""The camera: where each pixel of each frame looks; and the canvas that the frames are painted on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

PAN = 0.5  # heights per clip
TILT = 0.17
ZOOM = 1.38
SECONDS = 15 / 8  # of a clip: 16 frames at 8 a second, 61 at 32
MOVES = {  # camera: pan, tilt (heights from the start to the end of a clip), zoom at the start and at the end
    "still": (0.0, 0.0, 1.0, 1.0),
    "pan left": (-PAN, 0.0, 1.0, 1.0),
    "pan right": (PAN, 0.0, 1.0, 1.0),
    "zoom in": (0.0, 0.0, 1.0, ZOOM),
    "zoom out": (0.0, 0.0, ZOOM, 1.0),
    "tilt up": (0.0, -TILT, 1.0, 1.0),
    "tilt down": (0.0, TILT, 1.0, 1.0),
}


@dataclass(frozen=True)
class View:
    """What a camera sees over time. Lengths are in heights of the frame; x goes right, y down.

    x: [1, 1, w], y: [1, h, 1], the middle of every pixel. t: seconds, [frames, 1, 1]. pan, tilt, zoom: [frames, 1, 1],
    or [1, 1, 1] where the camera stands still, so that what does not move is painted once. middle: of the whole frame's
    width; pixel: its height.
    """

    x: Tensor
    y: Tensor
    t: Tensor
    pan: Tensor
    tilt: Tensor
    zoom: Tensor
    middle: float
    pixel: float

    def across(self, parallax: float = 1.0) -> Tensor:
        """World x of every column, [f, 1, w]: layers farther away pass by more slowly."""
        return (self.x - self.middle) / self.zoom + self.middle + parallax * self.pan

    def down(self) -> Tensor:
        """World y of every row, [f, h, 1]."""
        return (self.y - 0.5) / self.zoom + 0.5 + self.tilt

    def row_of(self, level: float) -> Tensor:
        """Where a world y lies in the frame, [f, 1, 1]."""
        return (level - 0.5 - self.tilt) * self.zoom + 0.5

    def window(self, rows: slice, columns: slice) -> View:
        """The same view of a part of the frame."""
        return replace(self, x=self.x[..., columns], y=self.y[:, rows])


def view(camera: str, seconds: Tensor, height: int, width: int) -> View:
    """The view at these times, [frames]."""
    pan, tilt, zoom_from, zoom_to = MOVES[camera]
    t = seconds[:, None, None].float()
    part = t / SECONDS if camera != "still" else torch.zeros(1, 1, 1)
    return View(
        x=((torch.arange(width) + 0.5) / height)[None, None],
        y=((torch.arange(height) + 0.5) / height)[None, :, None],
        t=t,
        pan=pan * (part - 0.5) if pan else torch.zeros(1, 1, 1),
        tilt=tilt * (part - 0.5) if tilt else torch.zeros(1, 1, 1),
        zoom=zoom_from * (zoom_to / zoom_from) ** part,
        middle=width / height / 2,
        pixel=1 / height,
    )


class Canvas:
    """Frames that are painted layer by layer, from far to near.

    colour: [3, f, h, w] in 0…1, f = 1 while nothing has moved. nearness: [f, h, w], 0 the sky … 1 the lens. edges:
    [f, h, w] in 0…1, the outlines of layers that are in sight.
    """

    def __init__(self, colour: Tensor) -> None:
        self.colour = colour
        self.nearness = torch.zeros(1, 1, 1)
        self.edges = torch.zeros(1, 1, 1)

    def paint(self, colour: Tensor, cover: Tensor, nearness: Tensor | float | None = None) -> None:
        """Lay colour [3, f, h, w] over what is there; cover: [f, h, w] in 0…1. Without nearness, what shines through
        keeps its own."""
        under, over = torch.broadcast_tensors(self.colour, colour)
        self.colour = torch.lerp(under, over, cover)
        if nearness is not None:
            near = torch.as_tensor(nearness)
            self.nearness = torch.where(cover > 0.5, near, self.nearness)
            self.edges = torch.maximum(self.edges * (1 - cover), 4 * cover * (1 - cover))

    def glow(self, colour: Tensor, strength: Tensor) -> None:
        """Adds light, as a screen does: never beyond white."""
        light = colour * strength
        self.colour = torch.addcmul(self.colour + light, self.colour, light.clamp(0, 1), value=-1)

    def window(self, rows: slice, columns: slice = slice(None)) -> Canvas:
        """A part of the canvas to paint on, which costs less than the whole; `put` lays it back."""
        part, (height, width) = Canvas(self.colour), self.colour.shape[-2:]
        for name in ("colour", "nearness", "edges"):
            whole = getattr(self, name)
            setattr(part, name, whole.expand(*whole.shape[:-2], height, width)[..., rows, columns])
        return part

    def put(self, part: Canvas, rows: slice, columns: slice = slice(None)) -> None:
        height, width = self.colour.shape[-2:]
        for name in ("colour", "nearness", "edges"):
            whole, piece = getattr(self, name), getattr(part, name)
            frames = max(whole.shape[-3], piece.shape[-3])
            whole = whole.expand(*whole.shape[:-3], frames, height, width).clone()
            whole[..., rows, columns] = piece
            setattr(self, name, whole)
