"""Whether the base kept what only images taught it: a place that no training clip shows."""

from __future__ import annotations

from lavie.evaluation.report import PERCENT, SuiteRequest, table

from ..judge.accuracy import right, shares
from ..judge.judge import read
from ..world.grammar import PLACES, STILL_PLACES, scene_of
from ..world.render import frame_seconds
from ..world.scene import Scene
from .held_out import filmed
from .samples import sampled

SHOWN = ("place", "time", "weather", "camera", "guests", "kind", "colour", "motion", "steady")
TAUGHT_BY = {"images": STILL_PLACES, "clips": PLACES}


def measure(request: SuiteRequest) -> dict:
    """Shares of clips read right, by what taught their place; `clips` prompts of each.

    "made", and "rendered": the judge's own.
    """
    figures: dict = {"prompts": request.clips, "made": {}, "rendered": {}}
    for kind in TAUGHT_BY:
        scenes = scenes_of(kind, request.clips, request.seed)
        figures["made"][kind] = shares(right(scene, read(clip)) for scene, clip in sampled(request, scenes))
        rendered = (right(scene, read(filmed(scene, frame_seconds(16)))) for scene in scenes)
        figures["rendered"][kind] = shares(rendered)
    return figures


def show(figures: dict) -> str:
    rows = {
        f"{kind}{'' if way == 'made' else ', the judge on rendered clips'}": figures[way][kind]
        for kind in TAUGHT_BY
        for way in ("made", "rendered")
    }
    return "\n".join(
        [
            f"prompts with a place that training knows from images only, or from clips; {figures['prompts']} each",
            table("taught by", dict.fromkeys(SHOWN, PERCENT), rows),
        ]
    )


def scenes_of(kind: str, count: int, seed: int) -> list[Scene]:
    """Scenes at these places in turn."""
    places = TAUGHT_BY[kind]
    return [scene_of(seed, number, place=places[number % len(places)]) for number in range(count)]
