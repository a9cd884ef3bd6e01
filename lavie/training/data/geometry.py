"""How an image becomes height×width pixels: a resize that just covers them and a crop, or a window of the original."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

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

    def apply(self, image: np.ndarray) -> np.ndarray:
        """uint8 [H, W, 3] → uint8 [height, width, 3]; the resize is bicubic and antialiased."""
        if self.scaled != image.shape[:2]:
            pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
            pixels = interpolate(pixels, self.scaled, mode="bicubic", antialias=True)
            image = pixels[0].permute(1, 2, 0).numpy()
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


def fit(name: str, height: int, width: int, request: ClipRequest, generator: torch.Generator) -> Geometry:
    """How to get from an image of height×width to what the request asks for.

    Raises:
        UnreadableClip: a patch is larger than the image.
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
