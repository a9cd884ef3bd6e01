"""Sprites as signed distance functions: the silhouette, and the details painted inside it.

Coordinates: u to the right and v down, in radii, the sprite looking right. Distances are in radii too,
negative inside.
"""

import math
from functools import lru_cache, reduce

import torch
from torch import Tensor

SOFT = 0.035  # radii that the anti-aliased edge of a small sprite reaches beyond its silhouette, at 64 rows
DARK = (0.10, 0.09, 0.16)
LIGHT = (0.97, 0.98, 1.0)
GLASS = (0.78, 0.92, 1.0)
BEAK = (1.0, 0.68, 0.16)


def circle(u: Tensor, v: Tensor, x: float, y: float, radius: float) -> Tensor:
    return torch.hypot(u - x, v - y) - radius


def ellipse(u: Tensor, v: Tensor, x: float, y: float, a: float, b: float, angle: float = 0.0) -> Tensor:
    p, q = u - x, v - y
    if angle:
        cos, sin = math.cos(angle), math.sin(angle)
        p, q = cos * p + sin * q, cos * q - sin * p
    scaled = torch.hypot(p / a, q / b)
    return scaled * (scaled - 1) / torch.hypot(p / a**2, q / b**2).clamp_min(1e-4)


def rounded_box(u: Tensor, v: Tensor, x: float, y: float, a: float, b: float, corner: float) -> Tensor:
    p, q = (u - x).abs() - (a - corner), (v - y).abs() - (b - corner)
    return torch.hypot(p.clamp_min(0), q.clamp_min(0)) + torch.maximum(p, q).clamp_max(0) - corner


def polygon(u: Tensor, v: Tensor, *points: tuple[float, float]) -> Tensor:
    """A convex polygon, its corners clockwise on the screen; the distance is to the nearest edge line."""
    edges = []
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        edges.append(((u - x0) * (y1 - y0) - (v - y0) * (x1 - x0)) / length)
    return reduce(torch.maximum, edges)


def union(*distances: Tensor) -> Tensor:
    result = distances[0]
    for distance in distances[1:]:
        result = torch.minimum(result, distance)
    return result


def ball(u: Tensor, v: Tensor) -> Tensor:
    return circle(u, v, 0, 0, 0.94)


def box(u: Tensor, v: Tensor) -> Tensor:
    return rounded_box(u, v, 0, 0, 0.82, 0.82, 0.12)


def star(u: Tensor, v: Tensor) -> Tensor:
    """Five points, one of them up: the angle folds onto one edge from an outer tip to an inner corner."""
    radius = torch.hypot(u, v)
    wedge = 2 * math.pi / 5
    angle = torch.remainder(torch.atan2(u, -v) + wedge / 2, wedge).sub_(wedge / 2).abs_()
    inner_x, inner_y = 0.5 * math.cos(wedge / 2), 0.5 * math.sin(wedge / 2)
    tip = 1.02
    length = math.hypot(tip - inner_x, inner_y)
    p, q = radius * angle.cos(), radius * angle.sin()
    return ((p - tip) * inner_y + q * (tip - inner_x)) / length - 0.02


def heart(u: Tensor, v: Tensor) -> Tensor:
    w = v - 0.08
    square = (u.abs() + w.abs() - 0.78) * math.sqrt(0.5)
    return union(square, circle(u.abs(), w, 0.40, -0.40, 0.54))


def fish(u: Tensor, v: Tensor) -> Tensor:
    body = ellipse(u, v, 0.2, 0, 0.78, 0.56)
    tail = polygon(u, v.abs(), (-1.0, -0.2), (-0.3, -0.2), (-0.3, 0.05), (-0.82, 0.62), (-1.0, 0.62))
    fin = polygon(u, v, (-0.2, -0.3), (-0.1, -0.78), (0.1, -0.78), (0.5, -0.3))
    return union(body, tail, fin)


def rocket(u: Tensor, v: Tensor) -> Tensor:
    hull = torch.maximum(ellipse(u, v, -0.15, 0, 1.15, 0.42), -0.78 - u)
    fin = polygon(u, v.abs(), (-0.05, 0.25), (-0.7, 0.78), (-0.95, 0.78), (-0.75, 0.1), (-0.2, 0.1))
    return union(hull, fin)


def bird(u: Tensor, v: Tensor) -> Tensor:
    body = ellipse(u, v, -0.05, 0.18, 0.66, 0.44)
    head = circle(u, v, 0.45, -0.2, 0.36)
    wing = ellipse(u, v, -0.28, -0.4, 0.24, 0.6, -0.45)
    tail = polygon(u, v, (-1.0, -0.1), (-0.4, 0.0), (-0.4, 0.4), (-0.95, 0.3))
    beak = polygon(u, v, (0.7, -0.36), (1.08, -0.14), (0.7, -0.02))
    return union(body, head, wing, tail, beak)


def car(u: Tensor, v: Tensor) -> Tensor:
    chassis = rounded_box(u, v, 0, 0.18, 0.98, 0.3, 0.16)
    cabin = polygon(u, v, (-0.55, -0.62), (0.2, -0.62), (0.6, 0.0), (-0.75, 0.0))
    return union(chassis, cabin, circle(u, v, -0.52, 0.45, 0.27), circle(u, v, 0.52, 0.45, 0.27))


def mushroom(u: Tensor, v: Tensor) -> Tensor:
    cap = torch.maximum(ellipse(u, v, 0, 0.12, 1.0, 1.0), v - 0.12)
    return union(cap, _stem(u, v))


def _stem(u: Tensor, v: Tensor) -> Tensor:
    return rounded_box(u, v, 0, 0.42, 0.4, 0.5, 0.18)


def cat(u: Tensor, v: Tensor) -> Tensor:
    head = ellipse(u, v, 0, 0.2, 0.9, 0.72)
    ear = polygon(u.abs(), v, (0.82, -0.95), (0.9, 0.2), (0.12, -0.3))
    return union(head, ear)


SILHOUETTES = {
    "ball": ball,
    "box": box,
    "star": star,
    "heart": heart,
    "fish": fish,
    "rocket": rocket,
    "bird": bird,
    "car": car,
    "mushroom": mushroom,
    "cat": cat,
}


@lru_cache(maxsize=64)
def reach(shape: str, angle: float) -> tuple[float, float, float, float]:
    """How far the sprite reaches to the left, right, top and bottom of its middle, turned by `angle`, in radii."""
    p, q, inside = _inside(shape, angle)
    return -p[inside].min().item(), p[inside].max().item(), -q[inside].min().item(), q[inside].max().item()


@lru_cache(maxsize=8)
def reach_around(shape: str) -> float:
    """How far the sprite reaches from its middle in any direction, in radii."""
    p, q, inside = _inside(shape, 0.0)
    return torch.hypot(p, q)[inside].max().item()


def _inside(shape: str, angle: float) -> tuple[Tensor, Tensor, Tensor]:
    """A grid around the sprite's middle, in radii, and where the sprite leaves a trace on it."""
    grid = torch.linspace(-1.4, 1.4, 281)
    p, q = grid.expand(281, 281), grid[:, None].expand(281, 281)
    cos, sin = math.cos(angle), math.sin(angle)
    return p, q, SILHOUETTES[shape](cos * p + sin * q, cos * q - sin * p) < SOFT


def _eye(u: Tensor, v: Tensor, x: float, y: float, size: float = 0.15):
    return [(circle(u, v, x, y, size), LIGHT), (circle(u, v, x + 0.3 * size, y, 0.68 * size), DARK)]


def _face(u: Tensor, v: Tensor):
    smile = torch.maximum((torch.hypot(u, v - 0.05) - 0.27).abs() - 0.05, 0.2 - v)
    eyes = [(ellipse(u.abs(), v, 0.27, -0.1, 0.1, 0.16), DARK)]
    return [*eyes, (smile, DARK)]


def _wheels(u: Tensor, v: Tensor):
    wheel = torch.hypot(u.abs() - 0.52, v - 0.45)
    return [(wheel - 0.27, DARK), (wheel - 0.11, LIGHT)]


def details(shape: str, u: Tensor, v: Tensor, gaze: tuple[float, float]) -> list[tuple[Tensor, tuple]]:
    """(distance, colour) of what is painted on the sprite, in order; gaze moves the faces."""
    if shape == "fish":
        return _eye(u, v, 0.55, -0.12, 0.16)
    if shape == "bird":
        beak = polygon(u, v, (0.74, -0.5), (1.3, -0.14), (0.74, 0.2))
        return [(beak, BEAK), *_eye(u, v, 0.5, -0.24, 0.13)]
    if shape == "rocket":
        return [(circle(u, v, 0.25, 0, 0.23), LIGHT), (circle(u, v, 0.25, 0, 0.15), DARK)]
    if shape == "car":
        window = polygon(u, v, (-0.45, -0.5), (0.14, -0.5), (0.42, -0.08), (-0.58, -0.08))
        lamp = circle(u, v, 0.86, 0.1, 0.12)
        return [(window, GLASS), (lamp, LIGHT), *_wheels(u, v)]
    if shape == "mushroom":
        dots = [
            circle(u, v, x, y, size) for x, y, size in ((-0.5, -0.28, 0.17), (0.05, -0.55, 0.2), (0.55, -0.2, 0.15))
        ]
        below = torch.maximum(_stem(u, v), 0.1 - v)
        eyes = ellipse(u.abs(), v, 0.16, 0.36, 0.06, 0.1)
        return [*((dot, LIGHT) for dot in dots), (below, LIGHT), (eyes, DARK)]
    if shape == "cat":
        eyes = ellipse(u.abs(), v, 0.38, 0.1, 0.16, 0.2)
        pupils = ellipse(u.abs(), v, 0.38, 0.1, 0.07, 0.16)
        nose = polygon(u, v, (-0.14, 0.4), (0.14, 0.4), (0.0, 0.58))
        return [(eyes, LIGHT), (pupils, DARK), (nose, DARK)]
    reach, lower = (0.5, 0.08) if shape == "star" else (1.0, 0.0)
    return _face(u - reach * gaze[0], v - reach * gaze[1] - lower)
