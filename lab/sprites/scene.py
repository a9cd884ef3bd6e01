"""One synthetic clip as plain values: what is in it, where it moves, and which combinations stay unseen."""

import math
from dataclasses import dataclass

import torch

from lavie.errors import UsageError

from .shapes import reach, reach_around

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
STILL_COLOURS = ("brown", "turquoise")  # only images show them, never clips: what joint training has to keep
SHAPES = ("ball", "box", "star", "heart", "fish", "rocket", "bird", "car")
SUBJECTS = ("cat", "mushroom")  # no base has seen them: what a LoRA is to teach
BACKGROUNDS = ("green grass", "blue sky", "night sky", "desert", "snow", "sea", "sunset")
DIRECTIONS = ("moving left", "moving right", "moving up", "moving down")
LASTING = ("standing still", "spinning", "bouncing")  # motions that can go on for ever
MOTIONS = (*DIRECTIONS, "growing", "shrinking", "bouncing", "spinning", "standing still")
CAMERAS = ("still", "panning left", "panning right", "zooming in")
FACING_SHAPES = ("fish", "rocket", "bird", "car")

UNREADABLE = {
    ("green", "green grass"),
    ("white", "snow"),
    ("blue", "blue sky"),
    ("blue", "sea"),
    ("yellow", "desert"),
    ("orange", "desert"),
    ("orange", "sunset"),
    ("purple", "sunset"),
    ("brown", "sunset"),
    ("brown", "desert"),
    ("turquoise", "sea"),
    ("turquoise", "blue sky"),
}
HELD_OUT_SHAPE_MOTIONS = {
    ("star", "moving up"),
    ("heart", "moving right"),
    ("fish", "bouncing"),
    ("car", "growing"),
    ("box", "moving left"),
    ("bird", "moving down"),
}

STEP = {"moving left": (-1, 0), "moving right": (1, 0), "moving up": (0, -1), "moving down": (0, 1)}
ASPECT = 1.5
RIM = 1 / 64  # heights that stay free of the sprite


@dataclass(frozen=True)
class Scene:
    """A clip of one sprite; x is in widths, y and radius in heights, and time runs from 0 to 1.

    The sprite travels on a straight line from `start` to `end` while its radius goes from `radius[0]` to
    `radius[1]`; it hops `hop` heights high, turns `turns` times around, and looks left when `mirrored`.
    `seed` places the details of the background, past which the `camera` moves.
    """

    colour: str
    shape: str
    motion: str
    background: str
    start: tuple[float, float]
    end: tuple[float, float]
    radius: tuple[float, float]
    hop: float = 0.0
    turns: float = 0.0
    mirrored: bool = False
    seed: int = 0
    camera: str = "still"


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def choice(generator: torch.Generator, options):
    return options[torch.randint(len(options), (), generator=generator).item()]


def is_held_out(scene: Scene) -> bool:
    """True when training never sees this combination; those of `SUBJECTS` are left to who asks for them.

    Every pair of colour and shape is held out over exactly one of the seven backgrounds (14 % of
    the triples), and a few shapes are held out in one motion each.
    """
    if scene.shape in SUBJECTS:
        return False
    colour = (*COLOURS, *STILL_COLOURS).index(scene.colour)
    shape = SHAPES.index(scene.shape)
    background = BACKGROUNDS.index(scene.background)
    unseen_triple = (colour + 3 * shape + 5 * background) % len(BACKGROUNDS) == 3
    return unseen_triple or (scene.shape, scene.motion) in HELD_OUT_SHAPE_MOTIONS


def sample_scene(
    generator: torch.Generator,
    held_out: bool = False,
    colour: str | None = None,
    shape: str | None = None,
    motion: str | None = None,
    background: str | None = None,
) -> Scene:
    """Draws a scene; what is given stays fixed, the rest is drawn among readable combinations.

    Raises UsageError when nothing that fits exists (for example green over green grass).
    """
    for _ in range(200):
        names = {
            "colour": colour or choice(generator, COLOURS),
            "shape": shape or choice(generator, SHAPES),
            "motion": motion or choice(generator, MOTIONS),
            "background": background or choice(generator, BACKGROUNDS),
        }
        scene = Scene(**names, **_sample_path(generator, names["motion"], names["shape"]))
        if (scene.colour, scene.background) not in UNREADABLE and is_held_out(scene) == held_out:
            return scene
    kind = "held-out" if held_out else "training"
    raise UsageError(f"No {kind} scene has {colour=}, {shape=}, {motion=}, {background=}; leave one of them open.")


def _sample_path(generator: torch.Generator, motion: str, shape: str) -> dict:
    big = uniform(generator, 0.235, 0.28)
    radius = {"growing": (0.6 * big, 1.08 * big), "shrinking": (1.08 * big, 0.6 * big)}.get(motion, (big, big))
    hop = uniform(generator, 0.18, 0.22) if motion == "bouncing" else 0.0
    turns = choice(generator, (-1, 1)) * uniform(generator, 0.7, 1.0) if motion == "spinning" else 0.0
    mirrored = motion == "moving left" or (motion not in DIRECTIONS and uniform(generator, 0, 1) < 0.5)
    left, right, top, bottom = (max(radius) * side + RIM for side in _reach(shape, motion, mirrored))
    left, right = left / ASPECT, right / ASPECT
    step_x, step_y = STEP.get(motion, (0, 0))
    travel_x = step_x * min(uniform(generator, 0.38, 0.46), 1 - left - right)
    travel_y = step_y * min(uniform(generator, 0.31, 0.36), 1 - top - bottom)
    x = uniform(generator, left - min(travel_x, 0), 1 - right - max(travel_x, 0))
    y = uniform(generator, top - min(travel_y, 0) + hop, 1 - bottom - max(travel_y, 0))
    return {
        "start": (x, y),
        "end": (x + travel_x, y + travel_y),
        "radius": radius,
        "hop": hop,
        "turns": turns,
        "mirrored": mirrored,
        "seed": int(torch.randint(2**31, (), generator=generator)),
    }


def _reach(shape: str, motion: str, mirrored: bool) -> tuple[float, float, float, float]:
    """How far the sprite reaches to the left, right, top and bottom of its place during the clip, in radii."""
    if motion == "spinning":
        around = reach_around(shape)
        return around, around, around, around
    left, right, top, bottom = reach(shape, heading(shape, motion))
    return (right, left, top, bottom) if mirrored else (left, right, top, bottom)


def heading(shape: str, motion: str) -> float:
    """The angle in radians that turns a sprite that looks right to face its way (before mirroring)."""
    if shape not in FACING_SHAPES:
        return 0.0
    if motion in ("moving up", "moving down"):
        return STEP[motion][1] * math.pi / 2
    upright_rocket = shape == "rocket" and motion not in DIRECTIONS
    return -math.pi / 2 if upright_rocket else 0.0


def pose(scenes: list[Scene], times: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """x in widths, y and radius in heights, and angle in radians, each [scenes, times]."""
    column = lambda values: torch.tensor(values, dtype=torch.float32)[:, None]  # noqa: E731
    t = times[None].float()
    x = column([s.start[0] for s in scenes]).lerp(column([s.end[0] for s in scenes]), t)
    y = column([s.start[1] for s in scenes]).lerp(column([s.end[1] for s in scenes]), t)
    y = y - column([s.hop for s in scenes]) * (1.5 * math.pi * t).sin().abs()
    radius = column([s.radius[0] for s in scenes]).lerp(column([s.radius[1] for s in scenes]), t)
    angle = column([heading(s.shape, s.motion) for s in scenes]) + 2 * math.pi * column([s.turns for s in scenes]) * t
    return x, y, radius, angle
