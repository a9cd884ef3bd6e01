"""Fit the judge to rendered clips and save what it learnt: `python -m lab.judge.fit [CLIPS]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..world.grammar import STILL_PLACES, scene_of
from ..world.render import Rendering, frame_seconds, render
from ..world.scene import Scene
from .camera import camera_features
from .classes import Classes, fit
from .colours import BINS, Colours, bin_of
from .features import features
from .store import FITTED, save

SEED, CLIPS = 7001, 4000
READ = ("place", "time", "weather")


def scene_for(seed: int, number: int) -> Scene:
    """Scenes of every kind: held out or not, and now and then the place that only images show."""
    fixed: dict[str, Any] = {"place": STILL_PLACES[0]} if number % 12 == 0 else {}
    return scene_of(seed, number, held_out=number % 4 == 1 and not fixed, **fixed)


def frames_of(rendering: Rendering) -> Tensor:
    """Frames [f, 3, h, w] in 0…1, rounded to the 8 bits of a file."""
    return ((rendering.video.transpose(0, 1) + 1) * 127.5).round().clamp(0, 255) / 255


def examples(seed: int, count: int) -> Iterator[tuple[Scene, Rendering]]:
    for number in range(count):
        scene = scene_for(seed, number)
        yield scene, render(scene, frame_seconds(16))


def count_colours(colours: Colours, scene: Scene, rendering: Rendering) -> None:
    """Adds a clip's pixels to the tables: the guest's own, and all that is no guest."""
    bins, mask = bin_of(frames_of(rendering)[::3]), rendering.mask[0, ::3]
    table = colours.scenes.setdefault((scene.place, scene.time), torch.zeros(BINS**3))
    table += torch.bincount(bins[mask < 0.05], minlength=BINS**3)
    if scene.guest is not None:
        table = colours.guests.setdefault((scene.guest.colour, scene.time), torch.zeros(BINS**3))
        table += torch.bincount(bins[mask > 0.9], minlength=BINS**3)


def fitted(count: int = CLIPS, seed: int = SEED) -> tuple[dict[str, Classes], Colours]:
    colours, rows, moves, scenes = Colours({}, {}), [], [], []
    for scene, rendering in examples(seed, count):
        frames = frames_of(rendering)
        rows.append(features(frames))
        moves.append(camera_features(frames, rendering.mask[0]))
        scenes.append(scene)
        count_colours(colours, scene, rendering)
    return classes_of(torch.stack(rows), torch.stack(moves), scenes), colours


def classes_of(rows: Tensor, moves: Tensor, scenes: list[Scene]) -> dict[str, Classes]:
    """What recognises the names, fitted to the features [clips, features] of clips."""
    classes = {name: fit(rows, [getattr(scene, name) for scene in scenes]) for name in READ}
    return {**classes, "camera": fit(moves, [scene.camera for scene in scenes], directions=24, ridge=3.0)}


def main() -> None:
    save(*fitted(int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS))
    print(f"wrote {FITTED.name}, {FITTED.stat().st_size >> 10} KiB")


if __name__ == "__main__":
    main()
