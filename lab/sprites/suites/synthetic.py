"""How faithful the base stage is to its prompts, on held-out combinations of the synthetic world."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lavie.evaluation.report import CHANGE, PERCENT, SuiteRequest, table
from lavie.pipelines import TextToVideoPipeline

from .. import Scene, caption
from ..held_out import held_out_scenes, rendered_clips
from ..score import score
from .gap import gaps_of_stage, measure_gaps, show_gaps

BARS = {"background": 0.99, "colour": 0.95, "shape": 0.85, "direction": 0.90, "steady": 0.90}
GAP_CLIPS = 12


def measure(request: SuiteRequest) -> dict:
    """Shares of generated clips that show what their prompts say, and of rendered ones: the judge's own figures.

    With the option "gap_only" the word-swap gap alone; see `gap`.
    """
    if request.options.get("gap_only"):
        return measure_gaps(request)
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
    if "generated" not in figures:
        return show_gaps(figures)
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


def rendered_like(pipeline: TextToVideoPipeline, scenes: list[Scene]) -> Iterable[np.ndarray]:
    """`rendered_clips` of the pipeline's own length and size."""
    config = pipeline.stage.config
    return rendered_clips(scenes, config.num_frames, config.height, config.width)


def generated_clips(pipeline: TextToVideoPipeline, scenes: list[Scene], request: SuiteRequest) -> Iterable[np.ndarray]:
    """One clip per scene from its canonical caption; clip i has the request's seed + i."""
    for some, seeds in batches(scenes, request):
        videos = pipeline.generate([caption(scene) for scene in some], seeds, **request.settings)
        yield from (video.frames for video in videos)
        request.progress(len(some))


def batches(scenes: list[Scene], request: SuiteRequest) -> Iterable[tuple[list[Scene], list[int]]]:
    """Scenes and their seeds, so many at a time as the request says."""
    for start in range(0, len(scenes), request.batch):
        some = scenes[start : start + request.batch]
        yield some, [request.seed + start + index for index in range(len(some))]
