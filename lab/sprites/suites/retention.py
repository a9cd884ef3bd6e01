"""Whether the base stage kept what only images taught it: two colours that no training clip shows."""

from __future__ import annotations

from collections import Counter

import torch

from lavie.evaluation.report import PERCENT, SuiteRequest, table
from lavie.pipelines import TextToVideoPipeline

from .. import COLOURS, STILL_COLOURS, Scene, sample_scene
from ..judge import Reading, read
from ..score import score, score_readings
from .synthetic import generated_clips, rendered_like

KNOWN_FROM = {"pictures": STILL_COLOURS, "videos": COLOURS}


def measure(request: SuiteRequest) -> dict:
    """Shares of clips read right, by what taught the colour of their prompt; `clips` prompts of each kind.

    "read as": how often which colour was seen instead of, or as, every colour that images taught.
    """
    pipeline = TextToVideoPipeline.from_pretrained(request.model, device=request.device)
    figures: dict = {"prompts": request.clips, "generated": {}, "judge": {}}
    for kind, colours in KNOWN_FROM.items():
        scenes = scenes_of(colours, request.clips, request.seed)
        readings = [read(clip) for clip in generated_clips(pipeline, scenes, request)]
        figures["generated"][kind] = score_readings(scenes, readings).shares
        figures["judge"][kind] = score(scenes, rendered_like(pipeline, scenes)).shares
        if kind == "pictures":
            figures["read as"] = _colours_seen(scenes, readings)
    return figures


def show(figures: dict) -> str:
    generated, judge = figures["generated"], figures["judge"]
    rows = {
        name: {
            **{kind: shares[name] for kind, shares in generated.items()},
            "judge: pictures": judge["pictures"][name],
            "judge: videos": judge["videos"][name],
        }
        for name in generated["pictures"]
    }
    lines = [
        f"video prompts with colours that training knows from images only, or from videos; {figures['prompts']} each",
        table("attribute", dict.fromkeys(("pictures", "videos", "judge: pictures", "judge: videos"), PERCENT), rows),
    ]
    for colour, seen in figures["read as"].items():
        lines.append(f"{colour} read as: " + ", ".join(f"{name} {count}" for name, count in seen.items()))
    return "\n".join(lines)


def scenes_of(colours: tuple[str, ...], count: int, seed: int) -> list[Scene]:
    """Held-out scenes with the colours in turn."""
    generator = torch.Generator().manual_seed(seed)
    return [sample_scene(generator, held_out=True, colour=colours[i % len(colours)]) for i in range(count)]


def _colours_seen(scenes: list[Scene], readings: list[Reading]) -> dict[str, dict[str, int]]:
    seen: dict[str, Counter] = {colour: Counter() for colour in STILL_COLOURS}
    for scene, reading in zip(scenes, readings, strict=True):
        seen[scene.colour][reading.colour or "nothing"] += 1
    return {colour: dict(counts.most_common()) for colour, counts in seen.items()}
