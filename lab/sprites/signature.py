"""Which sprite is it, by its colours as well as its outline: the nearest among rendered ones over the same ground.

The judge's silhouettes tell one-coloured shapes apart. A subject of several colours is better known by all of them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from lavie.models.latents import to_uint8

from . import MOTIONS, render, sample_scene
from .appearance import HEIGHT, WIDTH
from .judge import PATCH, SpritePath, look, patches, small_frames

EXAMPLES = 2  # clips of every shape in every motion
INSIDE = 0.62  # of the patch: where the sprite is
# A trail or a pale limb moves what is found of a generated sprite off its middle: around there is looked at, too.
SHIFTS = (-0.15, 0.0, 0.15)  # radii, in each direction
SCALES = (0.9, 1.0, 1.12)


def nearest_sprite(
    video: np.ndarray | Tensor, colour: str, shapes: tuple[str, ...], found_in: np.ndarray | Tensor | None = None
) -> str | None:
    """The shape of that colour whose rendered images are nearest to most frames of a clip, uint8 [F, H, W, 3];
    None where no sprite is seen.

    found_in: the clip as it is without a style whose colours the judge does not know; it tells where to look.
    """
    reading, sprite = look(video if found_in is None else found_in, shapes)
    if sprite is None:
        return None
    known, names = _bank(colour, shapes, reading.background)
    frames = small_frames(video)
    distances = torch.stack([torch.cdist(_colours(frames, path), known) for path in _around(sprite.path)])
    votes = names[distances.amin(0).argmin(1)]
    return shapes[votes.bincount(minlength=len(shapes)).argmax()]


def _around(path: SpritePath) -> list[SpritePath]:
    """The path, and where the sprite may be instead."""
    radius = (path.area / math.pi).sqrt()
    return [
        SpritePath(path.x + across * radius, path.y + down * radius, path.area * scale**2)
        for across in SHIFTS
        for down in SHIFTS
        for scale in SCALES
    ]


@lru_cache(maxsize=64)
def _bank(colour: str, shapes: tuple[str, ...], background: str) -> tuple[Tensor, Tensor]:
    """Images of every shape [n, values] and which shape each is, int64 [n]."""
    generator = torch.Generator().manual_seed(79)
    rows, names = [], []
    for index, shape in enumerate(shapes):
        for motion in MOTIONS * EXAMPLES:
            scene = sample_scene(generator, colour=colour, motion=motion, background=background)
            scene = replace(scene, shape=shape)
            video, _ = render([scene], torch.tensor([0.25, 0.5, 0.75]), HEIGHT, WIDTH)
            _, sprite = look(to_uint8(video)[0].permute(1, 2, 3, 0), shapes)
            if sprite is not None:
                rows.append(_colours(sprite.frames, sprite.path))
                names += [index] * len(rows[-1])
    return torch.cat(rows), torch.tensor(names)


def _colours(frames: Tensor, path: SpritePath) -> Tensor:
    """The colours around the sprite's middle, in its own scale, without light (each channel's mean) and contrast:
    [frames, values]."""
    ring = torch.linspace(-1, 1, PATCH)
    inside = torch.hypot(ring[:, None], ring) < INSIDE
    values = patches(frames, path)[:, :, inside]
    values = (values - values.mean(2, keepdim=True)).flatten(1)
    return values / values.norm(dim=1, keepdim=True)
