"""Land, layer behind layer: each is a crest line with a colour below it, paler the farther it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .noise import noise, random_numbers, smooth
from .palette import mix, rgb
from .scene import Scene
from .sky import greyed, light_of
from .view import Canvas, View

SNOW_COVER = (0.95, 0.97, 1.0)


@dataclass(frozen=True)
class Layer:
    """haze: 0 near … 1 lost in the sky. parallax: see `View.across`. nearness: see `Canvas`."""

    haze: float
    parallax: float
    nearness: float


FAR, MIDDLE, NEAR = Layer(0.62, 0.86, 0.15), Layer(0.34, 0.95, 0.3), Layer(0.08, 1.1, 0.5)


def coloured(albedo: Tensor, scene: Scene, haze: float) -> Tensor:
    """What a surface looks like by the light of the scene, through the air before it."""
    light = light_of(scene)
    haze = min(1.0, haze + (0.25 if scene.weather == "mist" else 0.1 if scene.weather in ("rain", "snow") else 0.0))
    air = mix(rgb(light.horizon), rgb(light.middle), 0.35)
    return greyed(mix(albedo * rgb(light.land), air, haze), scene)


def below(view: View, crest: Tensor) -> tuple[Tensor, Tensor]:
    """How far each pixel is below a crest [f, 1, w], [f, h, w], and what the land covers."""
    depth = view.down() - crest
    return depth, smooth(-view.pixel, view.pixel, depth)


def slope(crest: Tensor) -> Tensor:
    """The rise of a crest [f, 1, w] to the right, −1…1, smoothed."""
    step = torch.diff(crest, dim=-1, append=crest[..., -1:]) * crest.new_tensor(64.0)
    return torch.tanh(step)


def sunlit(scene: Scene, crest: Tensor, x: Tensor) -> Tensor:
    """How much a slope faces the sun, −1…1."""
    return slope(crest) * torch.tanh(3 * (scene.sun[0] - x)) * -1.0


def peaks(x: Tensor, offset: float) -> Tensor:
    """Sharp mountains, heights 0…1, [f, 1, w]."""
    row = torch.full((1, 1, 1), 10 * offset)
    rough = noise(x + 4 * offset, row, 4, seed=2)
    fold = 1 - (noise(0.5 * x + 3 * offset, row + 1.7, 2, seed=2) - 0.5).abs() * 4.2
    return (0.62 * fold + 0.9 * (rough - 0.35)).clamp(0, 1.2)


def hills(x: Tensor, offset: float) -> Tensor:
    """Rolling land, heights about 0…1, [f, 1, w]."""
    return 0.5 + 1.3 * (noise(x + 4 * offset, torch.full((1, 1, 1), 10 * offset), 2, seed=3) - 0.5)


def mountains(scene: Scene, view: View, canvas: Canvas, lift: float = 0.0) -> None:
    offsets = random_numbers(scene.seed, "mountains", 3).tolist()
    rows = ((FAR, 0.02, 0.30, 1.9), (MIDDLE, 0.10, 0.30, 2.3), (NEAR, 0.26, 0.20, 1.6))
    for (layer, level, height, pitch), offset in zip(rows[: 2 if lift else 3], offsets, strict=False):
        x = view.across(layer.parallax)
        crest = scene.horizon + level - lift - height * peaks(pitch * x, offset)
        _rock(scene, view, canvas, layer, crest, x, offset)


def _rock(scene: Scene, view: View, canvas: Canvas, layer: Layer, crest: Tensor, x: Tensor, offset: float) -> None:
    """Rock with snow on it, light on one side of each spur and shade on the other."""
    depth, cover = below(view, crest)
    grain = noise(5 * x + 2 * depth, 3 * depth - 2 * x + 7 * offset, 3, seed=4) - 0.5
    face = 0.5 + 0.45 * torch.tanh(1.1 * sunlit(scene, crest, x) * torch.exp(-5 * depth.clamp(min=0)) + 4.0 * grain)
    albedo = mix(rgb((0.26, 0.29, 0.42)), rgb((0.60, 0.55, 0.58)), face)
    line = 0.07 + 0.20 * grain + (0.10 if scene.weather == "snow" else 0.0)
    white = smooth(line + 0.025, line - 0.025, depth) * (0.55 + 0.45 * face)
    canvas.paint(coloured(mix(albedo, rgb(SNOW_COVER), white), scene, layer.haze), cover, layer.nearness)


def dunes(scene: Scene, view: View, canvas: Canvas) -> None:
    """Waves of sand, each with a bright side and a long shadow behind its crest."""
    numbers = random_numbers(scene.seed, "dunes", 8).tolist()
    for k in range(4):
        layer = Layer(0.40 - 0.13 * k, 0.88 + 0.09 * k, 0.2 + 0.18 * k)
        x = view.across(layer.parallax)
        a, b = 6 * numbers[2 * k], 6 * numbers[2 * k + 1]
        pitch = 3.4 - 0.45 * k
        wave = torch.sin(pitch * x + a) + 0.45 * torch.sin(1.9 * pitch * x + b)
        crest = scene.horizon - 0.03 + 0.125 * k - 0.055 * wave
        depth, cover = below(view, crest)
        edge = x + (0.55 - 0.05 * k) * depth + 0.04 * torch.sin(14 * depth + a)
        side = torch.tanh(2.2 * (torch.cos(pitch * edge + a) + 0.85 * torch.cos(1.9 * pitch * edge + b)))
        lit = 0.5 + 0.5 * side * (1 if scene.sun[0] > 0.75 else -1) * torch.exp(-3.5 * depth.clamp(min=0))
        albedo = mix(rgb((0.66, 0.42, 0.30)), rgb((1.0, 0.80, 0.50)), lit.clamp(0, 1))
        canvas.paint(coloured(albedo, scene, layer.haze), cover, layer.nearness)


def _fields(scene: Scene, view: View, canvas: Canvas, dark: tuple, bright: tuple, name: str) -> None:
    """Rolling hills of two colours in brush strokes, three deep."""
    offsets = random_numbers(scene.seed, name, 3).tolist()
    for k, offset in enumerate(offsets):
        layer = Layer(0.50 - 0.22 * k, 0.86 + 0.12 * k, 0.2 + 0.25 * k)
        x = view.across(layer.parallax)
        crest = (
            scene.horizon + (-0.02, 0.06, 0.16)[k] - (0.13, 0.12, 0.08)[k] * (hills((1.5 - 0.3 * k) * x, offset) - 0.3)
        )
        depth, cover = below(view, crest)
        sway = 0.10 * torch.sin(2.6 * view.t + 5 * x) if k == 2 else 0.0
        strokes = noise(3.2 * x + sway, (9 - 2 * k) * depth + 9 * offset + 0.4 * x, 3, seed=5)
        lit = (0.55 + 2.2 * (strokes - 0.5) + 0.35 * sunlit(scene, crest, x) - 0.6 * depth).clamp(0, 1)
        canvas.paint(coloured(mix(rgb(dark), rgb(bright), lit), scene, layer.haze), cover, layer.nearness)


def meadow(scene: Scene, view: View, canvas: Canvas) -> None:
    white = scene.weather == "snow"
    _fields(
        scene,
        view,
        canvas,
        (0.62, 0.72, 0.84) if white else (0.14, 0.42, 0.20),
        SNOW_COVER if white else (0.62, 0.84, 0.30),
        "meadow",
    )


def lavender(scene: Scene, view: View, canvas: Canvas) -> None:
    """Violet rows that meet at the horizon."""
    _fields(scene, view, canvas, (0.18, 0.36, 0.26), (0.45, 0.62, 0.36), "lavender")
    top = scene.horizon + 0.12
    depth, cover = below(view, torch.full((1, 1, 1), top))
    near = depth.clamp(min=0.004) + 0.10
    centre = view.middle + 0.5 * (float(random_numbers(scene.seed, "rows", 1)) - 0.5)
    furrow = torch.cos(5.2 * (view.across(1.0) - centre) / near / 2.0 * 1.5)
    albedo = mix(rgb((0.25, 0.16, 0.42)), rgb((0.72, 0.48, 0.92)), 0.5 + 0.5 * torch.tanh(1.8 * furrow))
    canvas.paint(coloured(albedo, scene, 0.22 * float(1)), cover, (0.35 + depth).clamp(0, 1))


def forest(scene: Scene, view: View, canvas: Canvas) -> None:
    """Rows of firs that step out of the mist."""
    for k in range(3):
        layer = Layer((0.62, 0.38, 0.06)[k], (0.86, 0.96, 1.1)[k], (0.2, 0.4, 0.7)[k])
        x = view.across(layer.parallax)
        crest = scene.horizon + (0.02, 0.12, 0.30)[k] - _firs(x, scene.seed, k)
        depth, cover = below(view, crest)
        foot = smooth(0.02, 0.42, depth)
        tint = mix(rgb((0.10, 0.30, 0.24)), rgb((0.26, 0.46, 0.30)), foot)
        if scene.weather == "snow":
            tint = mix(tint, rgb(SNOW_COVER), 0.75 * smooth(0.10, 0.0, depth))
        haze = layer.haze + (0.25 if k < 2 else 0.05) * float(1)
        near = coloured(tint, scene, layer.haze)
        canvas.paint(mix(near, coloured(tint, scene, min(haze, 0.9)), foot), cover, layer.nearness)


def _firs(x: Tensor, seed: int, row: int) -> Tensor:
    """Heights of a row of firs over their ground, [f, 1, w]: a cone for each tree, broader and higher when near."""
    spacing, least, most = ((0.11, 0.10, 0.20), (0.17, 0.16, 0.30), (0.26, 0.22, 0.46))[row]
    number = random_numbers(seed, f"firs {row}", 64)
    place = x / spacing + 20
    height = torch.zeros_like(x)
    for shift in (-1, 0, 1):
        tree = place.floor().long() + shift
        a, b = number[tree % 64], number[(tree * 7 + 3) % 64]
        away = ((place - tree - 0.5 - 0.5 * (a - 0.5)) / (0.62 + 0.2 * b)).abs()
        cone = (1 - away).clamp(min=0)
        height = torch.maximum(height, (least + (most - least) * b) * cone**0.8)
    return height


def canyon(scene: Scene, view: View, canvas: Canvas) -> None:
    """Tables of red rock in bands, and the desert floor before them."""
    offsets = random_numbers(scene.seed, "canyon", 3).tolist()
    rows = ((FAR, 0.04, 0.26, 2.6), (MIDDLE, 0.14, 0.36, 2.1))
    for (layer, level, height, pitch), offset in zip(rows, offsets, strict=False):
        x = view.across(layer.parallax)
        shape = noise(pitch * x + 4 * offset, torch.full((1, 1, 1), 10 * offset), 1, seed=6)
        table = 0.55 * smooth(0.42, 0.47, shape) + 0.45 * smooth(0.53, 0.58, shape)
        crest = scene.horizon + level - height * (0.12 + 0.88 * table)
        depth, cover = below(view, crest)
        band = torch.sin(52 * view.down() + 2.5 * noise(2 * x, 2 * view.down(), 2) + 6 * offset)
        lit = (0.55 + 0.20 * band + 0.35 * sunlit(scene, crest, x) * torch.exp(-4 * depth.clamp(min=0))).clamp(0, 1)
        albedo = mix(rgb((0.50, 0.20, 0.16)), rgb((0.96, 0.52, 0.30)), lit)
        canvas.paint(coloured(albedo, scene, 0.75 * layer.haze), cover, layer.nearness)
    x = view.across(1.05)
    depth, cover = below(view, scene.horizon + 0.17 - 0.05 * hills(1.2 * x, offsets[2]))
    ground = noise(2 * x, 9 * depth, 3, seed=7)
    albedo = mix(rgb((0.62, 0.28, 0.18)), rgb((0.96, 0.62, 0.38)), (0.5 + 2 * (ground - 0.5)).clamp(0, 1))
    canvas.paint(coloured(albedo, scene, 0.05), cover, (0.5 + depth).clamp(0, 1))


def city(scene: Scene, view: View, canvas: Canvas) -> None:
    """Towers before the outline of others far away; the windows of the near ones are lit except at noon."""
    lamps = {"dawn": 0.7, "noon": 0.0, "sunset": 0.9, "night": 1.0}[scene.time]
    for k in range(2):
        layer = Layer((0.42, 0.05)[k], (0.9, 1.0)[k], (0.25, 0.45)[k])
        wide, least, most = ((0.22, 0.24, 0.48), (0.34, 0.10, 0.36))[k]
        x = view.across(layer.parallax)
        place = x / wide + 40
        number = random_numbers(scene.seed, f"towers {k}", 128)
        tower = place.floor().long() % 128
        inside = place - place.floor()
        roof = least + (most - least) * number[tower]
        crest = scene.horizon + 0.01 - roof
        depth, cover = below(view, crest)
        to_the_sun = (inside < 0.5) == (scene.sun[0] < 0.75)
        lit = 0.25 + 0.35 * number[(tower * 5 + 1) % 128] + 0.40 * to_the_sun + 0.0 * depth
        albedo = mix(rgb((0.20, 0.20, 0.32)), rgb((0.86, 0.74, 0.68)), lit)
        colour = coloured(albedo, scene, layer.haze)
        if k == 1:
            storey = (view.down() - crest) / 0.15
            pane = ((inside * 2 % 1 - 0.5).abs() < 0.28) * ((storey % 1 - 0.5).abs() < 0.28) * (depth > 0.02)
            column = (place * 2).floor().long()
            at_home = number[(column * 13 + storey.floor().long() * 29) % 128] > 0.42
            shining = mix(coloured(rgb((0.16, 0.34, 0.56)), scene, layer.haze), rgb((1.0, 0.84, 0.46)), lamps)
            colour = mix(colour, shining, 0.9 * (pane & at_home))
        canvas.paint(colour, cover, layer.nearness)


def island(scene: Scene, view: View, canvas: Canvas) -> None:
    """A low headland on the far side of the sea."""
    offset = float(random_numbers(scene.seed, "island", 1))
    x = view.across(0.9)
    crest = scene.horizon + 0.012 - 0.10 * (hills(1.3 * x, offset) - 0.42).clamp(min=-0.2)
    depth, cover = below(view, crest)
    canvas.paint(coloured(rgb((0.20, 0.34, 0.40)), scene, 0.45) + 0 * depth, cover, 0.1)


def lake_shores(scene: Scene, view: View, canvas: Canvas) -> None:
    mountains(scene, view, canvas, lift=0.10)


def paint_land(scene: Scene, view: View, canvas: Canvas) -> None:
    """Paints the place, in the rows that it can reach."""
    highest = float(view.row_of(scene.horizon - HIGHEST.get(scene.place, 0.25)).min()) / view.pixel
    rows = slice(max(0, int(highest)), None)
    part = canvas.window(rows)
    LANDS[scene.place](scene, view.window(rows, slice(None)), part)
    canvas.put(part, rows)


HIGHEST = {"mountains": 0.45, "lake": 0.55, "forest": 0.36, "city": 0.48, "canyon": 0.26}  # heights above the horizon
LANDS: dict[str, Callable[[Scene, View, Canvas], None]] = {
    "sea": island,
    "lake": lake_shores,
    "mountains": mountains,
    "dunes": dunes,
    "meadow": meadow,
    "forest": forest,
    "canyon": canyon,
    "city": city,
    "lavender": lavender,
}
