"""How a picture becomes height×width pixels: a resize that just covers them and a crop, or a window of it as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .clip import ClipRequest, UnreadableClip
from .randomness import draw


@dataclass(frozen=True)
class Geometry:
    """Resize to `scaled` (height, width) pixels, then keep `height`×`width` of them from (`top`, `left`) on."""

    scaled: tuple[int, int]
    top: int
    left: int
    height: int
    width: int

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def fit(name: str, height: int, width: int, request: ClipRequest, generator: torch.Generator) -> Geometry:
    """The way from a picture of height×width to what the request asks for.

    Raises:
        UnreadableClip: a patch is larger than the picture.
    """
    scaled = (height, width)
    if request.crop != "patch":
        scale = max(request.height / height, request.width / width)
        scaled = (max(request.height, round(height * scale)), max(request.width, round(width * scale)))
    elif request.height > height or request.width > width:
        size = f"{request.height}x{request.width}"
        raise UnreadableClip(name, f"{height}x{width} pixels are too few for patches of {size}")
    room = (scaled[0] - request.height, scaled[1] - request.width)
    top, left = (r // 2 if request.crop == "center" else draw(generator, r + 1) for r in room)
    return Geometry(scaled, top, left, request.height, request.width)
