"""Which scenes there are: the words, the pairs that make sense, and the combinations that training never sees."""

from __future__ import annotations

import torch

from lavie.training.data.randomness import draw, generator_of, uniform

from .guests import KINDS, REACH, STEP
from .palette import TIMES
from .scene import Guest, Scene
from .view import MOVES

PLACES = ("sea", "lake", "mountains", "dunes", "meadow", "forest", "canyon", "city")
STILL_PLACES = ("lavender",)  # only images show it, never clips: joint training has to keep it
WEATHERS = ("clear", "clouds", "snow", "rain", "mist", "stars", "aurora", "leaves")
CAMERAS = tuple(MOVES)
COLOURS = ("red", "yellow", "green", "blue", "purple", "pink")
STILL_COLOURS = ("white", "orange")
DIRECTIONS = tuple(STEP)
MOTIONS = (*DIRECTIONS, "growing", "shrinking", "hovering")

WEATHERS_OF = {  # where a weather belongs; elsewhere it would be odd or unreadable
    "snow": ("lake", "mountains", "forest", "meadow", "city"),
    "leaves": ("meadow", "forest", "lake"),
    "mist": ("lake", "mountains", "forest", "meadow", "city", "sea"),
    "rain": ("sea", "lake", "meadow", "forest", "city", "mountains"),
}
NIGHT_ONLY = ("stars", "aurora")
GUEST_WEATHERS = ("clear", "clouds", "stars", "mist", "snow", "aurora")
HIDDEN = {  # by the colour of a guest: where it would not stand out
    "red": ("canyon",),
    "yellow": ("dunes", "sunset"),
    "green": ("aurora", "forest", "meadow"),
    "blue": ("noon",),
    "purple": ("lavender", "sunset"),
    "pink": ("dawn", "sunset"),
    "white": ("snow", "clouds", "mist", "noon", "dawn"),
    "orange": ("sunset", "canyon", "dunes"),
}
TIMES_OF = {"lantern": ("dawn", "sunset", "night"), "kite": ("dawn", "noon", "sunset")}
WATERS_FOR_BOATS = ("sea", "lake")
WEATHER_LOTS = (*WEATHERS, "rain", *3 * ("leaves",), "stars")  # what few scenes allow is drawn more often
KIND_LOTS = (*KINDS[:-1], "kite", "kite", *4 * ("sailboat",))
ASPECT = 1.5
GUEST_SHARE, MOVING_CAMERA_SHARE = 0.55, 0.6  # of scenes; of those without a guest, or with one that hovers
STILL_PLACE_SHARE, STILL_COLOUR_SHARE = 0.08, 0.25  # of images


def is_held_out(scene: Scene) -> bool:
    """Whether training never sees the combination: a seventh of (place, time, weather), and, of those with a guest,
    also a seventh of (kind, colour, place)."""
    place = (*PLACES, *STILL_PLACES).index(scene.place)
    time, weather = TIMES.index(scene.time), WEATHERS.index(scene.weather)
    if (2 * place + 3 * time + 5 * weather) % 7 == 3:
        return True
    if scene.guest is None:
        return False
    kind, colour = KINDS.index(scene.guest.kind), (*COLOURS, *STILL_COLOURS).index(scene.guest.colour)
    return (3 * kind + colour + 2 * place) % 7 == 5


def makes_sense(scene: Scene) -> bool:
    """Whether the parts go together and can be told apart."""
    if scene.weather in NIGHT_ONLY and scene.time != "night":
        return False
    if scene.weather in WEATHERS_OF and scene.place not in WEATHERS_OF[scene.weather]:
        return False
    if scene.weather == "rain" and scene.time == "night" and scene.place != "city":
        return False  # too dark to read without lamps
    if scene.camera != "still" and scene.place == "sea" and scene.weather in ("rain", "mist"):
        return False  # nothing there would show it
    guest = scene.guest
    if guest is None:
        return True
    if scene.weather not in GUEST_WEATHERS or scene.time not in TIMES_OF.get(guest.kind, TIMES):
        return False
    if guest.kind == "sailboat" and (
        scene.place not in WATERS_FOR_BOATS or guest.motion in ("moving up", "moving down")
    ):
        return False
    if scene.camera != "still" and not (guest.motion == "hovering" and scene.camera.startswith("pan")):
        return False
    return not {scene.place, scene.time, scene.weather} & set(HIDDEN[guest.colour])


def scene_of(seed: int, number: int, held_out: bool = False, still: bool = False, **fixed: object) -> Scene:
    """Scene `number` of the world `seed`; the two alone decide it.

    held_out: one that training never sees. still: an image; some of them show what no clip does.
    fixed: place, time, weather, camera, kind, colour or motion that are given; `kind=None` is no guest.

    Raises:
        ValueError: no such scene makes sense.
    """
    generator = generator_of("world", seed, number)
    rare = still and uniform(generator) < STILL_PLACE_SHARE
    fixed = {"place": _choice(generator, STILL_PLACES if rare else _places_for(fixed)), **fixed}
    if uniform(generator) >= GUEST_SHARE:
        fixed = {"kind": None, **fixed}
    for _ in range(2000):
        scene = _drawn(generator, still, fixed)
        if makes_sense(scene) and is_held_out(scene) == held_out:
            return scene
    raise ValueError(f"No {'held-out' if held_out else 'training'} scene has {fixed}.")


def _places_for(fixed: dict) -> tuple[str, ...]:
    places = WATERS_FOR_BOATS if fixed.get("kind") == "sailboat" else PLACES
    return tuple(place for place in places if place in WEATHERS_OF.get(fixed.get("weather", ""), PLACES))


def _choice(generator: torch.Generator, options: tuple):
    return options[draw(generator, len(options))]


def _drawn(generator: torch.Generator, still: bool, fixed: dict) -> Scene:
    """Any combination, sensible or not."""
    moving = uniform(generator) < MOVING_CAMERA_SHARE
    camera = _choice(generator, CAMERAS[1:]) if moving else "still"
    names = {"time": _choice(generator, TIMES), "weather": _choice(generator, WEATHER_LOTS), "camera": camera}
    names |= {name: value for name, value in fixed.items() if name in ("place", *names)}
    horizon = uniform(generator, 0.58, 0.68)
    guest = _drawn_guest(generator, names["place"], horizon, still, fixed)
    low = {"dawn": (0.55, 0.95), "sunset": (0.55, 0.98), "noon": (0.18, 0.4), "night": (0.18, 0.5)}[names["time"]]
    return Scene(
        **names,
        guest=guest,
        horizon=horizon,
        sun=(uniform(generator, 0.35, 1.15), horizon * uniform(generator, *low)),
        sun_radius={"dawn": 0.065, "noon": 0.055, "sunset": 0.08, "night": 0.06}[names["time"]]
        * uniform(generator, 0.9, 1.15),
        wind=_choice(generator, (-1.0, 1.0)),
        seed=int(torch.randint(2**31, (), generator=generator)),
    )


def _drawn_guest(generator: torch.Generator, place: str, horizon: float, still: bool, fixed: dict) -> Guest | None:
    if "kind" in fixed and fixed["kind"] is None:
        return None
    kind = fixed.get("kind") or _choice(generator, KIND_LOTS if place in WATERS_FOR_BOATS else KIND_LOTS[:-4])
    rare = still and uniform(generator) < STILL_COLOUR_SHARE
    colour = fixed.get("colour") or _choice(generator, STILL_COLOURS if rare else COLOURS)
    motion = fixed.get("motion") or _choice(generator, MOTIONS)
    way = _way(generator, kind, motion, horizon)
    return Guest(kind, colour, motion, *way)


def _way(generator: torch.Generator, kind: str, motion: str, horizon: float) -> tuple:
    """start, end, radius, faces_left: wholly inside the frame at every moment."""
    big = uniform(generator, 0.185, 0.215)
    radius = {"growing": (0.58 * big, 1.12 * big), "shrinking": (1.12 * big, 0.58 * big)}.get(motion, (big, big))
    wide, high = (max(radius) * reach + 0.02 for reach in REACH.get(kind, (0.95, 1.05)))
    step_x, step_y = STEP.get(motion, (0, 0))
    travel_x = step_x * min(uniform(generator, 0.42, 0.56), ASPECT - 2 * wide)
    travel_y = step_y * min(uniform(generator, 0.30, 0.36), 1 - 2 * high)
    x = uniform(generator, wide - min(travel_x, 0), ASPECT - wide - max(travel_x, 0))
    lowest = 1 - high if step_y else min(1 - high, horizon + 0.06)
    first, last = high - min(travel_y, 0), lowest - max(travel_y, 0)
    y = uniform(generator, first, max(first, last))
    if kind == "sailboat":
        y = horizon - 0.50 * max(radius) + uniform(generator, 0.0, 0.10)
    left = motion == "moving left" or (motion != "moving right" and uniform(generator) < 0.5)
    return (x, y), (x + travel_x, y + travel_y), radius, left
