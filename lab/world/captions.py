"""Captions: one canonical form and a modest number of paraphrases, all in lower case."""

from __future__ import annotations

import torch

from lavie.training.data.randomness import draw, uniform

from .guests import KINDS
from .palette import GUEST_RGB
from .scene import Scene

PLACES = {  # the first is canonical
    "sea": ("the sea", "the ocean", "the open sea", "the wide sea"),
    "lake": ("a mountain lake", "a lake in the mountains", "a quiet lake", "a calm lake"),
    "mountains": ("mountains", "the mountains", "a mountain range", "high mountains"),
    "dunes": ("sand dunes", "dunes", "the desert dunes", "dunes of sand"),
    "meadow": ("a meadow", "green meadows", "a green meadow", "grassy hills"),
    "forest": ("a forest", "a pine forest", "the edge of a forest", "fir trees"),
    "canyon": ("a canyon", "a red canyon", "canyon rocks", "red rocks of a canyon"),
    "city": ("a city skyline", "a city", "the skyline of a city", "a city by the water"),
    "lavender": ("a lavender field", "lavender fields", "rows of lavender", "a field of lavender"),
}
TIMES = {
    "dawn": ("at dawn", "in the early morning", "at daybreak", "in the morning light"),
    "noon": ("at noon", "at midday", "in bright daylight", "on a sunny day"),
    "sunset": ("at sunset", "in the evening", "in the evening light", "at dusk"),
    "night": ("at night", "by night", "in the moonlight", "in the dark of night"),
}
WEATHERS = {
    "clear": ("clear sky", "a clear sky", "under a clear sky", "cloudless"),
    "clouds": ("clouds drifting", "drifting clouds", "clouds passing by", "clouds in the sky"),
    "snow": ("snow falling", "falling snow", "snowing", "in the snow"),
    "rain": ("rain falling", "falling rain", "raining", "in the rain"),
    "mist": ("mist drifting", "drifting mist", "in the mist", "morning mist"),
    "stars": ("stars shining", "stars twinkling", "under the stars", "a starry sky"),
    "aurora": ("northern lights", "aurora", "green northern lights", "an aurora in the sky"),
    "leaves": ("leaves falling", "falling leaves", "autumn leaves", "leaves in the wind"),
}
NOT_AT_NOON = ("morning mist",)
MOTIONS = {
    "moving left": ("moving left", "moving to the left", "that moves left", "going left"),
    "moving right": ("moving right", "moving to the right", "that moves right", "going right"),
    "moving up": ("moving up", "rising up", "that moves up", "going up"),
    "moving down": ("moving down", "sinking down", "that moves down", "going down"),
    "growing": ("coming closer", "growing", "that comes closer", "getting bigger"),
    "shrinking": ("going away", "shrinking", "that goes away", "getting smaller"),
    "hovering": ("hovering", "standing still", "that hovers", "staying in place"),
}
CAMERAS = {
    "pan left": ("panning left", "the camera pans left", "camera panning left"),
    "pan right": ("panning right", "the camera pans right", "camera panning right"),
    "zoom in": ("zooming in", "the camera zooms in", "camera zooming in"),
    "zoom out": ("zooming out", "the camera zooms out", "camera zooming out"),
    "tilt up": ("tilting up", "the camera tilts up", "camera tilting up"),
    "tilt down": ("tilting down", "the camera tilts down", "camera tilting down"),
}
NAMES = {
    "balloon": ("balloon", "hot air balloon"),
    "lantern": ("lantern", "paper lantern"),
    "kite": ("kite", "paper kite"),
    "parasol": ("parasol", "umbrella"),
    "airship": ("airship", "zeppelin"),
    "sailboat": ("sailboat", "sailing boat"),
}
ADJECTIVES = ("beautiful", "calm", "peaceful", "painted", "lovely", "dreamy", "wide")
OPENINGS = ("a video of", "a film of", "a painting of", "a view of")
STILL_OPENINGS = ("a picture of", "an image of", "a painting of", "a view of")
OTHER_WORDS = (
    "the and an to of on with small little big tiny large very fast slowly quickly slow high quality soft colorful "
    "colourful style background one two is are it its there while under through across from into by sun moon light "
    "warm cold winter summer autumn spring glow glowing water wind windy sky cinematic watercolor oil ink flying "
    "floating sailing gliding boat tree trees grass sand rock waves night day evening"
)


def _pick(rng: torch.Generator | None, options: tuple[str, ...]) -> str:
    return options[0] if rng is None else options[draw(rng, len(options))]


def caption(scene: Scene, rng: torch.Generator | None = None, still: bool = False) -> str:
    """A caption of the scene: the canonical one without `rng`, else a paraphrase drawn by it.

    With `still` it describes a single image, and no word of motion appears.
    """
    plain = rng if rng is not None and uniform(rng) < 0.6 else None
    place, time = _pick(plain, PLACES[scene.place]), _pick(plain, TIMES[scene.time])
    weather = _pick(plain, tuple(w for w in WEATHERS[scene.weather] if scene.time == "dawn" or w not in NOT_AT_NOON))
    words = f"{_guest(scene, plain, still)}{place} {time}"
    words = f"{weather}, {words}" if plain is not None and uniform(plain) < 0.15 else f"{words}, {weather}"
    if plain is not None and uniform(plain) < 0.25:
        words = f"{_pick(plain, STILL_OPENINGS if still else OPENINGS)} {words}"
    return words + ("" if still or scene.camera == "still" else ", " + _pick(plain, CAMERAS[scene.camera]))


def _guest(scene: Scene, rng: torch.Generator | None, still: bool) -> str:
    guest = scene.guest
    if guest is None:
        return (
            f"{_pick(rng, ADJECTIVES)} "
            if rng is not None and not _starts_with_article(scene) and uniform(rng) < 0.2
            else ""
        )
    name, motion = _pick(rng, NAMES[guest.kind]), _pick(rng, MOTIONS[guest.motion])
    where = _pick(rng, ("on", "over") if guest.kind == "sailboat" else ("over", "above"))
    article = "an" if guest.colour[0] in "aeiou" else "a"
    return f"{article} {guest.colour} {name} {'' if still else motion + ' '}{where} "


def _starts_with_article(scene: Scene) -> bool:
    return scene.place not in ("mountains", "dunes")


def vocabulary() -> list[str]:
    """Every word that a caption can hold, and some common ones besides, sorted; punctuation left out."""
    phrases = [*KINDS, *GUEST_RGB, *ADJECTIVES, *OPENINGS, *STILL_OPENINGS, OTHER_WORDS, "a over above on"]
    for table in (PLACES, TIMES, WEATHERS, MOTIONS, CAMERAS, NAMES):
        phrases += [phrase for options in table.values() for phrase in options]
    return sorted({word for phrase in phrases for word in phrase.split()})
