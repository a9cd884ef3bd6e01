"""Of many clips, how many the judge reads as their captions say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lavie.evaluation.report import mean

from .judge import Reading, read
from .scene import DIRECTIONS, Scene

ATTRIBUTES = ("background", "colour", "shape", "direction", "motion", "steady")


@dataclass(frozen=True)
class Score:
    """Shares of clips read as the caption says, 0…1, over `count` clips (direction: over those that move).

    by_value: of every attribute, the share among the clips whose caption names that value.
    """

    count: int
    shares: dict[str, float]
    by_value: dict[str, dict[str, float]]


def score(scenes: list[Scene], clips: Iterable[np.ndarray]) -> Score:
    """Let the judge read each clip, uint8 [frames, height, width, 3], and compare with its scene."""
    return score_readings(scenes, map(read, clips))


def score_readings(scenes: list[Scene], readings: Iterable[Reading]) -> Score:
    marks: dict[str, dict[str, list[bool]]] = {name: defaultdict(list) for name in ATTRIBUTES}
    for scene, reading in zip(scenes, readings, strict=True):
        for name in ("background", "colour", "shape", "motion"):
            value = getattr(scene, name)
            marks[name][value].append(getattr(reading, name) == value)
        if scene.motion in DIRECTIONS:
            marks["direction"][scene.motion].append(reading.direction == scene.motion)
        marks["steady"][scene.motion].append(reading.steady)
    by_value = {name: {value: mean(m) for value, m in values.items()} for name, values in marks.items() if values}
    shares = {name: mean([mark for m in marks[name].values() for mark in m]) for name in by_value}
    return Score(len(scenes), shares, by_value)
