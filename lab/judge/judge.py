"""Reads a clip: place, time, weather, camera, and the guest with its kind, colour, number, motion and outline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..world.guests import KINDS
from .camera import camera_features
from .classes import Classes
from .colours import Colours
from .features import features, small_frames
from .fit import READ
from .guest import Sight, find, is_steady, motion_of
from .store import load

ALONE = 0.85  # share of the frames that show one guest only


@dataclass(frozen=True)
class Reading:
    """What the judge saw. guests: 0, 1 or 2 (and more); the rest of the guest is None, False or 0 where there is none.

    steady: one guest on a smooth path, of one size. overlap: of the guest with its outline, the mean over the frames;
    fall: how much of that is lost from the first to the last quarter. flicker: what changes from frame to frame and
    changes back, outside the guest, of 255.
    """

    place: str
    time: str
    weather: str
    camera: str
    guests: int
    kind: str | None = None
    colour: str | None = None
    motion: str | None = None
    steady: bool = False
    overlap: float = 0.0
    fall: float = 0.0
    flicker: float = 0.0


@lru_cache(maxsize=1)
def what_was_fitted() -> tuple[dict[str, Classes], Colours]:
    return load()


def read(video: np.ndarray | Tensor, kinds: tuple[str, ...] = KINDS) -> Reading:
    """Reads a clip, uint8 [frames, h, w, 3] of any size near 2:3; it is averaged down to 64×96.

    kinds: of guests that it may show.
    """
    frames = small_frames(video)
    classes, colours = what_was_fitted()
    seen = features(frames)
    names = {name: classes[name].name(seen) for name in READ}
    sight = find(colours.evidence(frames, names["place"], names["time"]), kinds)
    camera = classes["camera"].name(camera_features(frames, None if sight is None else sight.outline))
    flicker = flicker_of(frames, None if sight is None else sight.outline)
    of_guest: dict[str, Any] = {"guests": 0} if sight is None else _of_guest(sight)
    return Reading(**names, camera=camera, flicker=flicker, **of_guest)


def flicker_of(frames: Tensor, guest: Tensor | None = None) -> float:
    """The mean second difference of frames [f, 3, h, w] in 0…1 over time, of 255, where no guest [f, h, w] is."""
    back_and_forth = (frames[:-2] - 2 * frames[1:-1] + frames[2:]).abs().mean(1) / 2
    free = torch.ones_like(back_and_forth)
    if guest is not None:
        near = F.max_pool2d(guest[:, None], 9, stride=1, padding=4)[:, 0]
        free = 1 - torch.maximum(torch.maximum(near[:-2], near[1:-1]), near[2:])
    return float(255 * (back_and_forth * free).sum() / free.sum().clamp(min=1))


def _of_guest(sight: Sight) -> dict[str, Any]:
    alone = float((sight.others == 0).float().mean()) >= ALONE
    quarter = max(1, len(sight.overlap) // 4)
    first, last = sight.overlap[:quarter].mean(), sight.overlap[-quarter:].mean()
    return {
        "guests": 1 if alone else 2,
        "kind": sight.kind,
        "colour": sight.colour,
        "motion": motion_of(sight),
        "steady": is_steady(sight) and alone,
        "overlap": float(sight.overlap.mean()),
        "fall": max(0.0, float(first - last)),
    }
