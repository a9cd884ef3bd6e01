"""The guests: soft shapes of one colour, each known by its outline, with a brush stroke of light behind what travels.

Coordinates: u to the right and v down, in radii, from the middle. An outline is how far a shape reaches to either
side at each height, which is all that so small an image can show.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .noise import smooth
from .palette import GUEST_RGB, LIGHTS, mix, rgb
from .scene import Guest, Scene
from .view import SECONDS, Canvas, View

DARK = (0.20, 0.14, 0.16)
WOOD = (0.42, 0.24, 0.14)
STEP = {"moving left": (-1, 0), "moving right": (1, 0), "moving up": (0, -1), "moving down": (0, 1)}
TRAIL = 1.7  # radii
HALO = 3.4  # radii: how far anything of a guest reaches
NEARNESS = 0.85


def _circle(u: Tensor, v: Tensor, x: float, y: float, a: float, b: float) -> Tensor:
    """About the distance to an ellipse, in radii, negative inside."""
    return (torch.sqrt(((u - x) / a) ** 2 + ((v - y) / b) ** 2) - 1) * min(a, b)


def _box(u: Tensor, v: Tensor, x: float, y: float, a: float, b: float) -> Tensor:
    return torch.maximum((u - x).abs() - a, (v - y).abs() - b)


def balloon(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    hull = _circle(u, v, 0, -0.24, 0.80, 0.78)
    neck = torch.maximum(u.abs() - (0.637 - 0.78 * (v - 0.232)), (v - 0.46).abs() - 0.23)  # a tangent of the hull
    basket = _box(u, v, 0, 0.86, 0.20, 0.15)
    return torch.minimum(hull, neck), basket


def lantern(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    paper = torch.maximum(u.abs() - (0.70 - 0.26 * (v + 0.05) ** 2 - 0.10 * v), v.abs() - 0.80)
    rims = torch.minimum(_box(u, v, 0, 0.86, 0.40, 0.09), _box(u, v, 0, -0.84, 0.40, 0.07))
    return paper, rims


def kite(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    upper, lower = (v + 0.95) / 0.75, (0.98 - v) / 1.18
    cloth = (u.abs() - 0.78 * torch.minimum(upper, lower)) * 0.75
    return cloth, torch.full_like(cloth, 9.0)


def parasol(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    dome = torch.maximum(_circle(u, v, 0, 0.02, 0.98, 0.92), v - 0.04 - 0.08 * torch.cos(9.6 * u))
    handle = torch.minimum(_box(u, v, 0, 0.45, 0.065, 0.48), _box(u, v, 0.13, 0.90, 0.17, 0.07))
    return dome, handle


def airship(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Looks right."""
    hull = _circle(u, v, 0.05, -0.12, 1.12, 0.50)
    fin = torch.maximum((v + 0.12).abs() - (0.62 + 0.5 * (-0.78 - u)), (u + 0.93).abs() - 0.20)
    cabin = _box(u, v, 0.12, 0.46, 0.34, 0.13)
    return torch.minimum(hull, fin), cabin


def sailboat(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Looks right."""
    main = torch.maximum(torch.maximum(u - 0.02, v - 0.50), -0.78 * (v + 0.98) / 1.48 - u)
    jib = torch.maximum(torch.maximum(0.14 - u, v - 0.44), u - 0.14 - 0.66 * (v + 0.72) / 1.16)
    hull = torch.maximum((u - 0.02).abs() - (0.98 - 0.55 * (v - 0.58) / 0.4), (v - 0.76).abs() - 0.18)
    return torch.minimum(main, jib), hull


def butterfly(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    sides = u.abs()
    upper = _circle(sides, v, 0.56, -0.36, 0.50, 0.52)
    lower = _circle(sides, v, 0.42, 0.42, 0.38, 0.40)
    joint = _box(u, v, 0, 0.02, 0.22, 0.42)
    return torch.minimum(torch.minimum(upper, lower), joint), _box(u, v, 0, 0.0, 0.09, 0.70)


OUTLINES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "balloon": balloon,
    "lantern": lantern,
    "kite": kite,
    "parasol": parasol,
    "airship": airship,
    "sailboat": sailboat,
}
KINDS = tuple(OUTLINES)
NEWCOMERS = {"butterfly": butterfly}  # that training never shows: what a LoRA of a subject is to learn
ALL_OUTLINES = {**OUTLINES, **NEWCOMERS}
REACH = {"airship": (1.18, 0.80), "sailboat": (1.0, 1.0)}  # radii to each side, above and below; else 0.9 and 1


def place(guest: Guest, view: View) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and radius in heights of the frame, each [frames, 1, 1]; a guest bobs up and down a little."""
    part = view.t / SECONDS
    x, y = (a + (b - a) * part for a, b in zip(guest.start, guest.end, strict=True))
    radius = guest.radius[0] + (guest.radius[1] - guest.radius[0]) * part
    return x, y + 0.006 * torch.sin(3.4 * view.t), radius


def paint_guest(scene: Scene, view: View, canvas: Canvas) -> Tensor:
    """Paints the guest; returns its coverage [frames, h, w], its light and its trail left out."""
    frames, height, width = len(view.t), view.y.shape[1], view.x.shape[2]
    rows, columns = _reached(scene.visitor, view)
    part = canvas.window(rows, columns)
    mask = torch.zeros(frames, height, width)
    mask[:, rows, columns] = _painted(scene, view.window(rows, columns), part)
    canvas.put(part, rows, columns)
    return mask


def _reached(guest: Guest, view: View) -> tuple[slice, slice]:
    """Rows and columns that its light and its trail reach at any time."""
    x, y, radius = place(guest, view)
    spans = []
    for at, axis in ((y, view.y), (x, view.x)):
        near = ((axis.flatten() - at.flatten()[:, None]).abs() < HALO * radius.flatten()[:, None]).any(0).nonzero()
        spans.append(slice(int(near[0]), int(near[-1]) + 1))
    return spans[0], spans[1]


def _painted(scene: Scene, view: View, canvas: Canvas) -> Tensor:
    guest = scene.visitor
    x, y, radius = place(guest, view)
    u, v = (view.x - x) / radius, (view.y - y) / radius
    pixel = 1.25 * view.pixel / radius
    _trail(scene, view, canvas, u, v)
    if scene.time == "night" or guest.kind == "lantern":
        _halo(scene, canvas, u, v)
    facing = -u if guest.faces_left else u
    body, dark = ALL_OUTLINES[guest.kind](facing.expand(*torch.broadcast_shapes(u.shape, v.shape)), v)
    inside = (0.5 - body / pixel).clamp(0, 1)
    details = (0.5 - dark / pixel).clamp(0, 1)
    canvas.paint(rgb(WOOD if guest.kind == "sailboat" else DARK) * _dimmed(scene), details, NEARNESS)
    canvas.paint(_cloth(scene, facing, v, body), inside, NEARNESS)
    return torch.maximum(inside, details)


def _dimmed(scene: Scene) -> Tensor:
    return mix(rgb(LIGHTS[scene.time].land), torch.ones(()), 0.60)


def _cloth(scene: Scene, u: Tensor, v: Tensor, body: Tensor) -> Tensor:
    """The body's colour, modelled softly: brighter above, panels or a flame where the kind has them."""
    guest = scene.visitor
    colour = rgb(GUEST_RGB[guest.colour])
    shade = 1.0 - 0.20 * smooth(-0.7, 0.9, v) - 0.16 * smooth(-0.22, 0.0, body)
    bright = 0.30 * torch.exp(-(((u + 0.28) / 0.40) ** 2)) * torch.exp(-(((v + 0.45) / 0.42) ** 2))
    if guest.kind == "lantern":
        flame = torch.exp(-((u / 0.42) ** 2)) * torch.exp(-(((v - 0.28) / 0.50) ** 2))
        return mix(colour * shade, rgb((1.0, 0.95, 0.70)), 0.75 * flame)
    if guest.kind == "balloon":
        shade = shade * (1 - 0.22 * smooth(0.0, 0.5, torch.cos(8.5 * u)))
    if guest.kind == "parasol":
        shade = shade * (1 - 0.18 * smooth(-0.2, 0.4, torch.cos(9.6 * u)))
    if guest.kind == "kite":
        shade = shade * (1 - 0.26 * smooth(-0.05, 0.05, u * (v + 0.2)))
    return mix(colour * shade * _dimmed(scene), torch.ones(()), bright)


def _halo(scene: Scene, canvas: Canvas, u: Tensor, v: Tensor) -> None:
    warm = mix(rgb(GUEST_RGB[scene.visitor.colour]), rgb((1.0, 0.80, 0.45)), 0.5)
    strength = 0.50 if scene.visitor.kind == "lantern" else 0.22
    canvas.glow(warm, strength * torch.exp(-((u / 1.5) ** 2)) * torch.exp(-((v / 1.5) ** 2)))


def _trail(scene: Scene, view: View, canvas: Canvas, u: Tensor, v: Tensor) -> None:
    """A stroke of pale paint where the guest came from, so that a single image shows which way it goes."""
    if scene.visitor.motion not in STEP:
        return
    right, down = STEP[scene.visitor.motion]
    if scene.visitor.kind == "sailboat":
        v = v - 0.86
    start = 0.75 * REACH.get(scene.visitor.kind, (0.9, 1.0))[abs(down)]
    behind, across = -(right * u + down * v) - start, (down * u - right * v)
    wave = 0.16 * torch.sin(3.2 * behind - 5.0 * view.t) * behind.clamp(0, 1)
    fade = (1 - behind / TRAIL).clamp(0, 1)
    broad = (0.15 if scene.visitor.kind == "sailboat" else 0.36) * (0.35 + 0.65 * fade)
    stroke = smooth(broad + 0.12, broad - 0.12, (across - wave).abs()) * smooth(-0.3, 0.2, behind) * fade.sqrt()
    pale = mix(rgb(GUEST_RGB[scene.visitor.colour]), torch.ones(()), 0.45) * mix(_dimmed(scene), torch.ones(()), 0.7)
    canvas.paint(pale, 0.85 * stroke)
