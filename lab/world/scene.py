"""One clip as plain values: what the grammar says about it, and the numbers that the painter needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Guest:
    """What visits a scene. start, end: its middle at the first and last moment of a clip, in heights of the frame.
    radius: in heights, at both. faces_left: which way it looks."""

    kind: str
    colour: str
    motion: str
    start: tuple[float, float]
    end: tuple[float, float]
    radius: tuple[float, float]
    faces_left: bool


@dataclass(frozen=True)
class Scene:
    """horizon: world y. sun: its place in heights, and its radius. wind: −1 or 1. seed: of all small details."""

    place: str
    time: str
    weather: str
    camera: str
    guest: Guest | None
    horizon: float
    sun: tuple[float, float]
    sun_radius: float
    wind: float
    seed: int

    @property
    def visitor(self) -> Guest:
        """The guest of a scene that has one."""
        if self.guest is None:
            raise ValueError("Nothing visits this scene.")
        return self.guest
