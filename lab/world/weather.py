"""What falls or hangs between the land and the lens: snow, rain, leaves, mist."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .noise import noise, random_numbers, smooth, splats
from .palette import mix, rgb
from .scene import Scene
from .sky import greyed, light_of
from .view import Canvas, View

FLAKES, DROPS, LEAVES = 28, 24, 13
LEAF_COLOURS = ((0.86, 0.20, 0.10), (0.98, 0.56, 0.10), (0.98, 0.80, 0.22))
LEVEL = 1.3  # heights of the column that things fall through before they begin again above


def weather(scene: Scene, view: View, canvas: Canvas) -> None:
    paint = {"snow": _snow, "rain": _rain, "leaves": _leaves, "mist": _mist}.get(scene.weather)
    if paint is not None:
        paint(scene, view, canvas)


def _falling(scene: Scene, view: View, name: str, count: int, speed: Tensor, drift: float) -> tuple[Tensor, Tensor]:
    """Places [frames, count] in the frame of things that fall and start again at the top; drift: heights a second."""
    x, y = random_numbers(scene.seed, name, 2 * count).view(2, 1, count)
    t, wide = view.t[:, 0], 2 * view.middle + 0.3
    along = (x * wide + scene.wind * drift * t - view.pan[:, 0]) % wide - 0.15
    down = (y * LEVEL + speed * t - view.tilt[:, 0]) % LEVEL - 0.15
    return along, down


def _snow(scene: Scene, view: View, canvas: Canvas) -> None:
    near = random_numbers(scene.seed, "size of flakes", FLAKES)[None]
    x, y = _falling(scene, view, "flakes", FLAKES, 0.34 + 0.30 * near, 0.10)
    x = x + 0.02 * torch.sin(2.5 * view.t[:, 0] + 30 * near)
    size = 0.026 + 0.020 * near
    flakes = splats(view.x, view.y, x, y, size, size, 0.75 + 0.6 * near)
    bright = rgb((1.0, 1.0, 1.0)) * (0.85 if scene.time == "night" else 1.0)
    canvas.paint(bright, flakes.clamp(0, 0.96))


def _rain(scene: Scene, view: View, canvas: Canvas) -> None:
    """Slanting streaks, each a few dots in a row."""
    near = random_numbers(scene.seed, "size of drops", DROPS)[None]
    x, y = _falling(scene, view, "drops", DROPS, 1.3 + 0.5 * near, 0.22)
    total = torch.zeros(1, 1, 1)
    for k in range(3):
        reach = 0.055 * (k - 1) * (0.8 + 0.6 * near)
        width, height = torch.full_like(x, 0.015), torch.full_like(x, 0.040)
        total = total + splats(
            view.x, view.y, x + 0.16 * scene.wind * reach, y + reach, width, height, 0.4 + 0.35 * near
        )
    pale = mix(rgb(light_of(scene).horizon), rgb((0.9, 0.95, 1.0)), 0.6) * (0.75 if scene.time == "night" else 1.0)
    canvas.paint(pale, total.clamp(0, 0.75))


def _leaves(scene: Scene, view: View, canvas: Canvas) -> None:
    near, phase = random_numbers(scene.seed, "size of leaves", 2 * LEAVES).view(2, 1, LEAVES)
    x, y = _falling(scene, view, "leaves", LEAVES, 0.24 + 0.16 * near, 0.26)
    swing = torch.sin(2.2 * view.t[:, 0] + 2 * math.pi * phase)
    x, y = x + 0.05 * swing, y + 0.015 * swing.abs()
    wide, high = 0.044 + 0.014 * near + 0.012 * swing, 0.034 + 0.012 * near - 0.008 * swing
    for k, colour in enumerate(LEAF_COLOURS):
        some = slice(k, None, len(LEAF_COLOURS))
        at_x, at_y, width, height = (value.expand_as(x)[:, some] for value in (x, y, wide, high))
        cover = splats(view.x, view.y, at_x, at_y, width, height, torch.full_like(x[:, some], 1.5))
        tint = rgb(colour) * mix(rgb(light_of(scene).land), torch.ones(()), 0.6)
        canvas.paint(tint, smooth(0.25, 0.8, cover))


def _mist(scene: Scene, view: View, canvas: Canvas) -> None:
    """Banks of it over the ground, that drift and let the land show through."""
    shift = random_numbers(scene.seed, "mist", 2) * 4
    x = view.across(1.0) * 1.3 - scene.wind * 0.30 * view.t + shift[0]
    y = view.down()
    banks = noise(x, 3.2 * y + shift[1], 3, seed=9)
    height = torch.exp(-(((y - scene.horizon - 0.06) / 0.20) ** 2))
    light = light_of(scene)
    pale = greyed(mix(rgb(light.horizon), rgb(light.cloud), 0.5), scene)
    canvas.paint(pale, (height * (0.50 + 2.6 * (banks - 0.5))).clamp(0, 0.78))
