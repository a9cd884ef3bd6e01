"""A guest that training never shows, as what a LoRA of a subject learns and is asked for."""

from __future__ import annotations

from dataclasses import replace

from .captions import caption
from .grammar import HIDDEN, MOTIONS, PLACES, scene_of
from .guests import NEWCOMERS
from .scene import Scene

KIND = next(iter(NEWCOMERS))
LIKE, COLOUR = "balloon", "red"  # the guest whose place it takes
CLASS = f"{COLOUR} {LIKE}"
SEEN_AT = tuple(place for place in PLACES if place not in HIDDEN[COLOUR])


def scene_like(seed: int, number: int, **fixed: object) -> Scene:
    """A scene that the newcomer could visit, with the guest that training knows; its place goes by the number."""
    return scene_of(seed, number, **{"place": SEEN_AT[number % len(SEEN_AT)], **fixed, "kind": LIKE, "colour": COLOUR})


def visited(scene: Scene) -> Scene:
    """The same with the newcomer."""
    return replace(scene, guest=replace(scene.visitor, kind=KIND))


def scenes_like(count: int, seed: int) -> list[Scene]:
    """Every motion at every place where the colour shows, in turn."""
    pairs = [(motion, place) for place in SEEN_AT for motion in MOTIONS]
    chosen = (pairs[number * 10 % len(pairs)] for number in range(count))
    return [scene_like(seed, i, motion=motion, place=place) for i, (motion, place) in enumerate(chosen)]


def prompt_of(scene: Scene, trigger: str) -> str:
    """The canonical caption with the trigger in the place of colour and kind."""
    known = replace(scene, guest=replace(scene.visitor, kind=LIKE))
    return caption(known).replace(f"a {CLASS}", f"a {trigger}")
