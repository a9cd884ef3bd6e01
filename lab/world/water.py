"""Water: the world upside down, broken by ripples, with a path of light below sun or moon."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .noise import noise, random_numbers, smooth
from .palette import mix, rgb
from .scene import Scene
from .sky import OVERCAST, greyed, light_of, sun_place
from .view import Canvas, View

DEEP = {"sea": (0.05, 0.32, 0.46), "lake": (0.08, 0.30, 0.42), "city": (0.10, 0.20, 0.36)}
ROUGHNESS = {"sea": 1.0, "lake": 0.35, "city": 0.45}
WATERS = tuple(DEEP)


def water(scene: Scene, view: View, canvas: Canvas) -> None:
    """Everything below the horizon becomes water."""
    image = canvas.colour
    top = int(float(view.row_of(scene.horizon).min()) / view.pixel) - 1
    rows = slice(max(0, top), None)
    part, view = canvas.window(rows), view.window(rows, slice(None))
    shore = view.row_of(scene.horizon)
    near = ((view.y - shore).clamp(min=0) / 0.45).clamp(0, 1)
    ripples = _ripples(scene, view, near)
    rough = ROUGHNESS[scene.place]
    mirrored = _mirrored(image, view, 2 * shore - view.y - 0.01, rough * (0.05 + 0.16 * near) * (ripples - 0.5))
    cover = smooth(-view.pixel, view.pixel, view.y - shore)
    part.paint(_surface(scene, mirrored, ripples, near), cover, 0.1 + 0.8 * near)
    _path_of_light(scene, view, part, ripples, near, cover)
    canvas.put(part, rows)


def _surface(scene: Scene, mirrored: Tensor, ripples: Tensor, near: Tensor) -> Tensor:
    """What is mirrored, what the deep lets through, and pale crests."""
    light, rough = light_of(scene), ROUGHNESS[scene.place]
    deep = greyed(rgb(DEEP[scene.place]) * rgb(light.land) + 0.10 * rgb(light.zenith), scene)
    clear = 0.80 - 0.42 * near * (0.6 + 0.8 * rough) - 0.14 * rough
    crests = smooth(0.60, 0.80, ripples) * (0.10 + 0.30 * rough) * (0.25 + near)
    return mix(mix(deep, 0.94 * mirrored, clear), greyed(rgb(light.horizon), scene), crests.clamp(0, 0.5))


def _ripples(scene: Scene, view: View, near: Tensor) -> Tensor:
    """0…1, finer towards the horizon, rolling towards the lens and along the wind."""
    shift = random_numbers(scene.seed, "ripples", 2) * 4
    far = 1 / (0.16 + near)
    x = (view.across(1.0) - view.middle) * (0.7 + 0.55 * far) + scene.wind * 0.35 * view.t + shift[0]
    y = 3.4 * far - 0.9 * view.t + shift[1]
    return noise(1.5 * x, y, 3, seed=8)


def _mirrored(image: Tensor, view: View, row: Tensor, shake: Tensor) -> Tensor:
    """The image [3, f, h, w] at other rows (in heights), shaken sideways and up and down."""
    row = row + shake
    column = view.x + 0.35 * shake
    frames = max(image.shape[1], row.shape[0])
    grid = torch.stack(torch.broadcast_tensors(column / view.middle - 1, 2 * row - 1), dim=-1)
    source = image.expand(-1, frames, -1, view.x.shape[-1]).transpose(0, 1)
    seen = F.grid_sample(source, grid.expand(frames, -1, -1, -1), padding_mode="reflection", align_corners=False)
    return seen.transpose(0, 1)


def _path_of_light(scene: Scene, view: View, canvas: Canvas, ripples: Tensor, near: Tensor, cover: Tensor) -> None:
    strength = {"rain": 0.0, "snow": 0.3, "mist": 0.5, "aurora": 0.0}.get(
        scene.weather, 1.0 - OVERCAST.get(scene.weather, 0)
    )
    if not strength:
        return
    light, dx = light_of(scene), sun_place(scene, view)[0]
    width = 0.05 + 0.20 * near
    glitter = torch.exp(-((dx / width) ** 2)) * smooth(0.44, 0.66, ripples + 0.10 * (1 - near))
    canvas.glow(mix(rgb(light.glow), rgb(light.sun), 0.6), strength * 0.95 * glitter * cover * (1 - 0.35 * near))
