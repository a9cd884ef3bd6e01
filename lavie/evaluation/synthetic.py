"""How faithful the base stage is to its prompts, on held-out combinations of the synthetic world."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from ..errors import UsageError
from ..models.latents import to_uint8
from ..pipelines import TextToVideoPipeline
from ..training.synthetic import DIRECTIONS, Scene, caption, frame_times, render, sample_scene
from .gap import gaps_of_stage
from .judge import Reading, read
from .report import CHANGE, PERCENT, Request, table

ATTRIBUTES = ("background", "colour", "shape", "direction", "motion", "steady")
BARS = {"background": 0.99, "colour": 0.95, "shape": 0.85, "direction": 0.90, "steady": 0.90}
GAP_CLIPS = 12


def measure(request: Request) -> dict:
    """Shares of generated clips that show what their prompts say, and of rendered ones: the judge's own figures."""
    scenes = held_out_scenes(request.clips, request.seed)
    pipeline = TextToVideoPipeline.from_pretrained(request.model, device=request.device)
    generated = score(scenes, generated_clips(pipeline, scenes, request))
    real = score(scenes, rendered_like(pipeline, scenes))
    return {
        "prompts": generated.count,
        "generated": generated.shares,
        "judge": real.shares,
        "by_value": generated.by_value,
        "gap": gaps_of_stage(pipeline.stage, min(GAP_CLIPS, request.clips), request.seed, request.batch),
    }


def show(figures: dict) -> str:
    rows = {
        name: {"generated": share, "bar": BARS.get(name), "judge on real clips": figures["judge"][name]}
        for name, share in figures["generated"].items()
    }
    words = ", ".join(f"{word} {CHANGE.format(gaps['mean'])}" for word, gaps in figures["gap"].items())
    lines = [
        f"{figures['prompts']} held-out prompts",
        table("attribute", dict.fromkeys(("generated", "bar", "judge on real clips"), PERCENT), rows),
        f"word-swap gap: {words}",
    ]
    return "\n".join(lines)


@dataclass(frozen=True)
class Score:
    """Shares of clips read as the caption says, 0…1, over `count` clips (direction: over those that move).

    by_value: of every attribute, the share among the clips whose caption names that value.
    """

    count: int
    shares: dict[str, float]
    by_value: dict[str, dict[str, float]]


def held_out_scenes(count: int, seed: int) -> list[Scene]:
    """Scenes whose combination of attributes training never showed."""
    if count < 1:
        raise UsageError(f"The number of prompts must be at least 1, not {count}.")
    generator = torch.Generator().manual_seed(seed)
    return [sample_scene(generator, held_out=True) for _ in range(count)]


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


def mean(values: list) -> float:
    return float(sum(values) / len(values)) if values else float("nan")


def rendered_clips(scenes: list[Scene], frames: int, height: int, width: int) -> Iterable[np.ndarray]:
    """What the renderer shows for each scene: the judge's own accuracy is measured on these."""
    for scene in scenes:
        yield rendered(scene, frame_times(frames), height, width)


def rendered(scene: Scene, times: torch.Tensor, height: int, width: int) -> np.ndarray:
    """uint8 [times, height, width, 3]."""
    return rendered_with_sprite(scene, times, height, width)[0]


def rendered_with_sprite(scene: Scene, times: torch.Tensor, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [times, height, width, 3], and the sprite's coverage [times, height, width] in 0…1."""
    video, mask = render([scene], times, height, width)
    return to_uint8(video)[0].permute(1, 2, 3, 0).numpy(), mask[0, 0].numpy()


def rendered_like(pipeline: TextToVideoPipeline, scenes: list[Scene]) -> Iterable[np.ndarray]:
    """`rendered_clips` of the pipeline's own length and size."""
    config = pipeline.stage.config
    return rendered_clips(scenes, config.num_frames, config.height, config.width)


def generated_clips(pipeline: TextToVideoPipeline, scenes: list[Scene], request: Request) -> Iterable[np.ndarray]:
    """One clip per scene from its canonical caption; clip i has the request's seed + i."""
    for some, seeds in batches(scenes, request):
        videos = pipeline.generate([caption(scene) for scene in some], seeds, **request.settings)
        yield from (video.frames for video in videos)
        request.progress(len(some))


def batches(scenes: list[Scene], request: Request) -> Iterable[tuple[list[Scene], list[int]]]:
    """Scenes and their seeds, so many at a time as the request says."""
    for start in range(0, len(scenes), request.batch):
        some = scenes[start : start + request.batch]
        yield some, [request.seed + start + index for index in range(len(some))]
