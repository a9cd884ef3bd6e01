"""Skies: the gradient of a time of day, sun or moon, clouds, stars, aurora."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .noise import noise, random_numbers, smooth, splats
from .palette import LIGHTS, Light, mix, rgb
from .scene import Scene
from .view import SECONDS, Canvas, View

SKY_PARALLAX = 0.8
OVERCAST = {"rain": 0.62, "snow": 0.35, "mist": 0.30}  # how grey the weather makes the sky
STARS = 44


def light_of(scene: Scene) -> Light:
    return LIGHTS[scene.time]


def greyed(colour: Tensor, scene: Scene) -> Tensor:
    """Under an overcast sky colours fade, and rain darkens them."""
    grey = OVERCAST.get(scene.weather, 0.0)
    level = (colour * rgb((0.3, 0.5, 0.2))).sum(0, keepdim=True)
    target = level * rgb((0.92, 0.98, 1.06)) * (0.80 if scene.weather == "rain" else 1.0)
    return mix(colour, target, grey)


def sky(scene: Scene, view: View) -> Canvas:
    """The sky and all that shines or drifts in it."""
    light = light_of(scene)
    part = (view.down() / scene.horizon).clamp(-0.3, 1)
    low, high = smooth(0.5, 1.0, part), smooth(0.62, 0.0, part)
    colour = mix(mix(rgb(light.middle), rgb(light.horizon), low), rgb(light.zenith), high)
    canvas = Canvas(greyed(colour, scene))
    if scene.weather == "aurora":
        _aurora(scene, view, canvas)
    if scene.time == "night" and scene.weather in ("stars", "aurora"):
        _stars(scene, view, canvas)
    _sun(scene, view, canvas)
    if scene.weather == "clouds":
        _clouds(scene, view, canvas)
    if scene.weather in ("rain", "snow"):
        _overcast(scene, view, canvas)
    return canvas


def sun_place(scene: Scene, view: View) -> tuple[Tensor, Tensor]:
    """How far each column and row is from the sun, [f, 1, w] and [f, h, 1]."""
    return view.across(SKY_PARALLAX) - scene.sun[0], view.down() - scene.sun[1]


def _sun(scene: Scene, view: View, canvas: Canvas) -> None:
    light, (dx, dy) = light_of(scene), sun_place(scene, view)
    veil = 0.3 if scene.weather == "aurora" else 1 - OVERCAST.get(scene.weather, 0.0)
    size = light.glow_size
    halo = torch.exp(-((dx / size) ** 2)) * torch.exp(-((dy / size) ** 2))
    wide = torch.exp(-((dx / (2.6 * size)) ** 2)) * torch.exp(-((dy / (1.4 * size)) ** 2))
    canvas.glow(greyed(rgb(light.glow), scene), veil * light.glow_strength * (0.75 * halo + 0.35 * wide))
    distance = torch.sqrt(dx * dx + dy * dy)
    disc = smooth(scene.sun_radius + 0.014, scene.sun_radius - 0.010, distance)
    strength = {"rain": 0.0, "snow": 0.45, "mist": 0.75, "aurora": 0.0}.get(scene.weather, 1.0)
    if strength:
        canvas.paint(rgb(light.sun), strength * disc)


def _clouds(scene: Scene, view: View, canvas: Canvas) -> None:
    """Heaps of cloud, lit from above, that drift with the wind."""
    light = light_of(scene)
    shift = random_numbers(scene.seed, "clouds", 2) * 4
    x = view.across(SKY_PARALLAX) * 2.1 - scene.wind * 0.36 * (view.t - SECONDS / 2) + shift[0]
    y = view.down()
    rows = y * 4.6 + shift[1]
    density = noise(x, rows, 5)
    above = noise(x + 0.06, rows - 0.32, 5)
    cover = smooth(0.47, 0.66, density + 0.10 * smooth(0.25, 0.05, (y - 0.16).abs()))
    cover = cover * smooth(scene.horizon - 0.02, scene.horizon - 0.24, y)
    lit = (0.55 + 2.4 * (density - above)).clamp(0, 1)
    canvas.paint(mix(rgb(light.shade), rgb(light.cloud), lit), 0.92 * cover)


def _overcast(scene: Scene, view: View, canvas: Canvas) -> None:
    """Soft heavy bands of cloud."""
    light, shift = light_of(scene), random_numbers(scene.seed, "overcast", 2) * 4
    x = view.across(SKY_PARALLAX) * 1.3 - scene.wind * 0.12 * view.t + shift[0]
    bands = noise(x, view.down() * 4.0 + shift[1], 3)
    dark = greyed(mix(rgb(light.shade), rgb(light.zenith), 0.4), scene)
    canvas.paint(dark, 0.55 * smooth(0.42, 0.70, bands) * smooth(scene.horizon, scene.horizon - 0.3, view.down()))


def _stars(scene: Scene, view: View, canvas: Canvas) -> None:
    """A few large stars, because fine ones would be lost; each twinkles at its own pace."""
    x, y, size, pace = random_numbers(scene.seed, "stars", 4 * STARS).view(4, 1, STARS)
    place_x = x * 2.3 - 0.4
    place_y = y**1.2 * 1.05 * scene.horizon - 0.12
    beat = 0.72 + 0.28 * torch.sin(2 * math.pi * (pace * 1.2 + 0.4) * view.t[:, 0] + 40 * pace)
    radius = 0.016 + 0.016 * size**2
    total = splats(view.across(SKY_PARALLAX), view.down(), place_x, place_y, radius, radius, beat * (0.75 + 0.5 * size))
    canvas.glow(
        rgb((0.95, 0.97, 1.0)), total.clamp(0, 1) * smooth(scene.horizon + 0.02, scene.horizon - 0.10, view.down())
    )


def _aurora(scene: Scene, view: View, canvas: Canvas) -> None:
    """Curtains of green light that wave, violet at their upper end."""
    shift = random_numbers(scene.seed, "aurora", 4)
    x, y, t = view.across(SKY_PARALLAX), view.down(), view.t
    for k in range(2):
        a, b = shift[2 * k] * 6, shift[2 * k + 1]
        foot = scene.horizon * (0.50 + 0.22 * k + 0.14 * (b - 0.5)) + 0.07 * torch.sin(3.1 * x + a + 0.9 * t)
        foot = foot + 0.03 * torch.sin(7.3 * x - 1.3 * t + 2 * a)
        height = (foot - y) / (0.34 + 0.06 * k)
        fall = smooth(-0.12, 0.05, height) * torch.exp(-2.2 * height.clamp(min=0))
        folds = 0.62 + 0.38 * torch.sin(9.0 * x + 2.4 * torch.sin(2.2 * x + a) - 1.6 * t * scene.wind + a)
        colour = mix(rgb((0.20, 1.00, 0.58)), rgb((0.62, 0.30, 0.95)), smooth(0.15, 1.1, height))
        canvas.glow(colour, (0.85 - 0.2 * k) * fall * folds)
