"""What a clip that goes on should look like, and how far one that was made strays from it.

A course is a true clip whose end is given and the frames that truly follow. What stands, spins or bounces can go on
for ever; what travels, grows or shrinks leaves the image or the sizes of the synthetic world, and is followed only
until then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from . import DIRECTIONS, LASTING, MOTIONS, Scene
from .appearance import profile
from .held_out import rendered_with_sprite
from .judge import HEIGHT, WIDTH, Sprite, look, small_frames

RECURSION = 15  # frames that a window of 16 adds to the one frame it is shown
PASSING = tuple(motion for motion in MOTIONS if motion not in LASTING)
GIVEN = {"lasting": 16, "passing": 4}  # frames; those that pass need the way before them
LEAST = 8  # frames that a recursion must hold for the judge to read it


@dataclass(frozen=True)
class Course:
    """given: uint8 [frames, h, w, 3]; truth: what follows, as long as the sprite is all in the image."""

    scene: Scene
    given: np.ndarray
    truth: np.ndarray

    @cached_property
    def origin(self) -> Sprite | None:
        """The sprite as it was given."""
        return look(self.given)[1]

    @property
    def lasts(self) -> bool:
        return self.scene.motion in LASTING


def course(scene: Scene, height: int, width: int, recursions: int) -> Course:
    """The renderer's own clip of a scene, up to `recursions` beyond what is given; one for what passes."""
    lasts = scene.motion in LASTING
    given = GIVEN["lasting" if lasts else "passing"]
    times = torch.arange(given + RECURSION * (recursions if lasts else 1)) / RECURSION
    if scene.motion in ("growing", "shrinking"):
        times = times[times <= 1]
    frames, sprite = rendered_with_sprite(scene, times, height, width)
    inside = np.maximum(sprite[:, [0, -1]].max((1, 2)), sprite[:, :, [0, -1]].max((1, 2))) == 0
    until = len(frames) if inside.all() else int(inside.argmin())
    return Course(scene, frames[:given], frames[given:until])


def strayed(followed: Course, made: np.ndarray, recursion: int) -> dict[str, float] | None:
    """Figures of one recursion (counted from 0) of the frames made, uint8 [frames, h, w, 3]; None if it is too short.

    Shares are 0 or 1: "background", "colour", "shape", "motion", "found" (the sprite is there in every frame).
    "colour drift", "background drift": of 255, from the given frames. What lasts has "place drift", the distance of
    the recursion's middle place from the last given (across only, for what bounces), and "jump", the step at the
    joint, both in pixels of 64×96. What passes has "pace" and "pace at the joint": steps on its way ÷ the true ones
    (of the radius, for what grows or shrinks).
    """
    start, stop = RECURSION * recursion, min(RECURSION * (recursion + 1), len(followed.truth))
    if stop - start < LEAST:
        return None
    before = followed.given[-1:] if recursion == 0 else made[start - 1 : start]
    window = np.concatenate((before, made[start:stop]))
    (reading, sprite), origin, scene = look(window), followed.origin, followed.scene
    names = ("background", "colour", "shape", "motion")
    figures = {name: float(getattr(reading, name) == getattr(scene, name)) for name in names}
    figures["background drift"] = _background_drift(followed.given, window[1:])
    figures["found"] = float(sprite is not None)
    if sprite is None or origin is None:
        return figures
    colours = sprite.mean_colour()[1:].mean(0) - origin.mean_colour().mean(0)
    figures["colour drift"] = 255 * colours.abs().mean().item()
    return {**figures, **(_place(scene, sprite, origin) if followed.lasts else _pace(followed, sprite))}


def _background_drift(given: np.ndarray, made: np.ndarray) -> float:
    return 255 * (profile(small_frames(made)) - profile(small_frames(given))).abs().mean().item()


def _place(scene: Scene, sprite: Sprite, origin: Sprite) -> dict[str, float]:
    x, y = sprite.path.x, sprite.path.y
    across, along = x[1:].mean() - origin.path.x.mean(), y[1:].mean() - origin.path.y.mean()
    distance = across.abs() if scene.motion == "bouncing" else torch.hypot(across, along)
    return {"place drift": distance.item(), "jump": math.hypot(x[1] - x[0], y[1] - y[0])}


def _pace(followed: Course, sprite: Sprite) -> dict[str, float]:
    """Of the steps, the mean over the recursion and the first, ÷ the true step."""
    scene, path = followed.scene, sprite.path
    if scene.motion in DIRECTIONS:
        way = torch.tensor([(scene.end[0] - scene.start[0]) * WIDTH, (scene.end[1] - scene.start[1]) * HEIGHT])
        progress = (torch.stack((path.x, path.y), dim=1) @ way) / way.square().sum()
    else:
        first, last = scene.radius
        progress = (path.area / path.area[0]).sqrt() * _radius_at(scene, len(followed.given) - 1) / (last - first)
    steps = progress.diff() * RECURSION
    return {"pace": steps.mean().item(), "pace at the joint": steps[0].item()}


def _radius_at(scene: Scene, frame: int) -> float:
    first, last = scene.radius
    return first + (last - first) * frame / RECURSION
