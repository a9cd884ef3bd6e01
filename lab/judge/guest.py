"""The guest: where pixels have a guest's colour, and which outline lies best over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..world.guests import ALL_OUTLINES, KINDS
from .features import HEIGHT, WIDTH, blurred

SIZES = tuple(6.3 * 1.085**k for k in range(12))  # radii in pixels
FACING = ("airship", "sailboat")
REACH = 24  # pixels from the middle of an outline to its window's border
MOST = 3.0  # evidence of one pixel
LEAST_SCORE = 120.0  # of a guest in a frame: rendered ones have 300 and more, leaves side by side up to 80
SECOND = 0.45  # of the first one's score: another guest
LEAST_SECOND = 60.0  # about forty pixels without doubt
AREA_TOLERANCE = 0.30
TRAVEL = 0.16  # heights from the first to the last frame
GROWTH = 1.25
JUMP = 6.0  # pixels off a smooth path


@dataclass(frozen=True)
class Sight:
    """The guest in every frame. x, y, radius: pixels of 64×96, [frames]. outline: its body, [frames, 64, 96] in 0…1.
    score: evidence; overlap: of the pixels of its colour with its outline, in 0…1; others: how many more there are;
    [frames]."""

    kind: str
    colour: str
    x: Tensor
    y: Tensor
    radius: Tensor
    outline: Tensor
    score: Tensor
    overlap: Tensor
    others: Tensor


def body_of(kind: str, mirrored: bool, u: Tensor, v: Tensor, radius: Tensor | float) -> Tensor:
    """What a body covers, in 0…1, at (u, v) in radii; radius: in pixels."""
    return (0.5 - ALL_OUTLINES[kind](-u if mirrored else u, v)[0] * radius).clamp(0, 1)


@lru_cache(maxsize=4)
def templates(kinds: tuple[str, ...] = KINDS) -> tuple[list[tuple[str, bool, float]], Tensor]:
    """(kind, mirrored, radius) of every outline, and bodies [outlines, 2 · REACH, 2 · REACH] in 0…1."""
    grid = (torch.arange(2 * REACH) - REACH + 0.0).expand(2 * REACH, -1)
    names = [
        (kind, mirrored, radius)
        for kind in kinds
        for radius in SIZES
        for mirrored in ((False, True) if kind in FACING else (False,))
    ]
    return names, torch.stack([body_of(kind, m, grid / r, grid.T / r, r) for kind, m, r in names])


@lru_cache(maxsize=4)
def _spectra(kinds: tuple[str, ...]) -> Tensor:
    padded = F.pad(templates(kinds)[1], (0, WIDTH, 0, HEIGHT))
    return torch.fft.rfft2(padded).conj()


def matched(evidence: Tensor, kinds: tuple[str, ...] = KINDS) -> Tensor:
    """The evidence [frames, 64, 96] inside every outline at every place: [frames, outlines, 64, 96]."""
    padded = F.pad(evidence, (REACH,) * 4)
    spectra, size = _spectra(kinds), padded.shape[-2:]
    # A frame at a time: all of them together leave the processor's cache, and take three times as long.
    frames = [torch.fft.irfft2(torch.fft.rfft2(frame) * spectra, s=size)[:, :HEIGHT, :WIDTH] for frame in padded]
    return torch.stack(frames)


def find(evidence: dict[str, Tensor], kinds: tuple[str, ...] = KINDS) -> Sight | None:
    """The guest, of one of these kinds, by the evidence for each colour, [frames, 64, 96]; None where there is none."""
    clear = {name: each.clamp(-MOST, MOST) for name, each in evidence.items()}
    colour = max(clear, key=lambda name: float(_best_blob(clear[name])))
    scores = matched(clear[colour], kinds)
    names, _ = templates(kinds)
    best = scores.flatten(2).amax(2)  # [frames, outlines]
    by_kind = {kind: best[:, [i for i, n in enumerate(names) if n[0] == kind]] for kind in kinds}
    kind = max(kinds, key=lambda name: float(by_kind[name].amax(1).sum()))
    if float(best.amax(1).median()) < LEAST_SCORE:
        return None
    own = [i for i, n in enumerate(names) if n[0] == kind]
    return _sight(kind, colour, clear[colour], scores[:, own], [names[i] for i in own])


def _best_blob(evidence: Tensor) -> Tensor:
    """The evidence in the best square of 15 pixels, the median over the frames."""
    return F.avg_pool2d(evidence[:, None], 15, stride=3).flatten(1).amax(1).median()


def _sight(kind: str, colour: str, evidence: Tensor, scores: Tensor, outlines: list[tuple[str, bool, float]]) -> Sight:
    found = []
    for frame, score in zip(evidence, scores, strict=True):
        outline, place = divmod(int(score.argmax()), HEIGHT * WIDTH)
        y, x = divmod(place, WIDTH)
        _, mirrored, radius = outlines[outline]
        others = _others(score, y, x, float(score.max()), radius)
        x, y, radius, body, value = _refined(frame, kind, mirrored, float(x), float(y), radius)
        found.append((x, y, radius, body, value, _overlap(frame, body), others))
    x, y, radius, outline, score, overlap, others = zip(*found, strict=True)
    x, y, radius, score, overlap, others = (
        torch.tensor(each).float() for each in (x, y, radius, score, overlap, others)
    )
    return Sight(kind, colour, x, y, radius, torch.stack(outline), score, overlap, others)


def _refined(
    evidence: Tensor, kind: str, mirrored: bool, x: float, y: float, radius: float
) -> tuple[float, float, float, Tensor, float]:
    """The place and size nearby, by fractions of a pixel, that have most evidence: x, y, radius, body, evidence."""
    rows, columns = torch.arange(HEIGHT) + 0.0, torch.arange(WIDTH) + 0.0
    for step in (0.5, 0.25):
        shifts = torch.tensor([-step, 0.0, step])
        dx, dy, grow = (
            each.flatten()[:, None, None] for each in torch.meshgrid(shifts, shifts, 0.06 * shifts, indexing="ij")
        )
        size = radius * (1 + grow)
        u, v = (columns - x - dx) / size, ((rows - y)[:, None] - dy) / size
        u, v = torch.broadcast_tensors(u, v)
        bodies = body_of(kind, mirrored, u, v, size)
        values = (bodies * evidence).sum((1, 2))
        best = int(values.argmax())
        x, y, radius = x + float(dx[best]), y + float(dy[best]), float(size[best])
    return x, y, radius, bodies[best], float(values[best])


def _overlap(evidence: Tensor, body: Tensor) -> float:
    """Intersection over union of the outline [64, 96] and the pixels of its colour near it."""
    outline = body > 0.5
    near = F.max_pool2d(outline[None].float(), 9, stride=1, padding=4)[0] > 0
    seen = (blurred((evidence > 0)[None, None].float(), 3)[0, 0] > 0.5) & near
    return float((seen & outline).sum() / (seen | outline).sum().clamp(min=1))


def _others(scores: Tensor, row: int, column: int, best: float, radius: float) -> int:
    """1 where an outline elsewhere, clear of this one, has much of its evidence, else 0."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    away = torch.hypot(x - float(column), y - float(row)) > 1.7 * radius
    second = (scores.amax(0) * away).max()
    return int(float(second) > max(SECOND * best, LEAST_SECOND))


def trend(values: Tensor) -> tuple[float, Tensor]:
    """The least-squares line: its rise from the first to the last value, and the line itself."""
    t = torch.linspace(-0.5, 0.5, len(values))
    slope = (t * values).sum() / (t * t).sum()
    return float(slope), values.mean() + slope * t


def motion_of(sight: Sight) -> str:
    growth = math.exp(trend(sight.radius.log())[0])
    rise_x, rise_y = trend(sight.x)[0], trend(sight.y)[0]
    if max(growth, 1 / growth) > GROWTH:
        return "growing" if growth > 1 else "shrinking"
    if math.hypot(rise_x, rise_y) < TRAVEL * HEIGHT:
        return "hovering"
    if abs(rise_x) > abs(rise_y):
        return "moving left" if rise_x < 0 else "moving right"
    return "moving up" if rise_y < 0 else "moving down"


def is_steady(sight: Sight) -> bool:
    """Whether every frame shows one guest, on a smooth path, with an area within 30 % of what that path predicts."""
    area = (sight.radius / trend(sight.radius)[1].clamp(min=1)).square()
    off = torch.hypot(sight.x - trend(sight.x)[1], sight.y - trend(sight.y)[1])
    seen = sight.score > 0.4 * sight.score.median()
    return bool(((area - 1).abs() <= AREA_TOLERANCE + 0.1).all() and (off <= JUMP).all() and seen.all())
