"""Long videos, method by method: what holds from segment to segment, whether joins show, and what a frame costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lavie.config import TRAINED_FRAMES
from lavie.errors import UsageError
from lavie.evaluation.report import NUMBER, PERCENT, SuiteRequest, clock_of, mean, table
from lavie.long_video import METHODS
from lavie.pipelines import LongVideoPipeline
from lavie.runtime import choose_device

from ..judge.accuracy import right, shares
from ..judge.judge import read
from ..world.captions import caption
from ..world.scene import Scene
from .extension import CONTEXT, KEPT, drift, lasting_scenes

SEGMENTS = 5
NUM_FRAMES = SEGMENTS * TRAINED_FRAMES
NEAR = 4  # frames on each side of a join, between which the usual step is measured

Make = Callable[[str, int], np.ndarray]  # prompt, seed → uint8 [NUM_FRAMES, h, w, 3]


def measure(request: SuiteRequest) -> dict:
    """Per method (all of them, or the request's), over `clips` prompts whose motion can go on forever.

    "segments": of every 16 frames the shares read right, and the "colour drift" from the first 16, of 255. "seam":
    the step at the joins ÷ the steps around them, over all clips. "seconds": per frame, decoding included; on the CPU
    they are the processor's.

    Raises:
        UsageError: an unknown method, or one that this family has no stage for.
    """
    chosen = (request.method,) if request.method else tuple(METHODS)
    scenes, figures = lasting_scenes(request.clips, request.seed), {"clips": request.clips, "methods": {}}
    clock = clock_of(choose_device(request.device))
    for method in chosen:
        make = _maker(method, request)
        started, clips = clock(), []
        for number, scene in enumerate(scenes):
            clips.append(make(caption(scene), request.seed + number))
            request.progress(1)
        seconds = (clock() - started) / (len(scenes) * NUM_FRAMES)
        figures["methods"][method] = {**_judged(scenes, clips, joins_of(method)), "seconds": seconds}
    return figures


def show(figures: dict) -> str:
    columns = dict.fromkeys(KEPT, PERCENT) | {"colour drift": NUMBER}
    tables = []
    for method, found in figures["methods"].items():
        rows = {
            f"frames {TRAINED_FRAMES * i}…{TRAINED_FRAMES * (i + 1) - 1}": row
            for i, row in enumerate(found["segments"])
        }
        tables.append(table(method, columns, rows))
    last = f"frames {NUM_FRAMES - TRAINED_FRAMES}…{NUM_FRAMES - 1}"
    ends = {
        name: {**found["segments"][-1], "seam": found["seam"], "seconds": found["seconds"]}
        for name, found in figures["methods"].items()
    }
    return "\n".join(
        [
            f"{figures['clips']} held-out prompts, {NUM_FRAMES} frames each",
            *tables,
            table(last, {**columns, "seam": NUMBER, "seconds": NUMBER}, ends),
            "seam: the step at the joins ÷ the steps around them; seconds: per frame; drift: of 255, from the first 16",
        ]
    )


def joins_of(method: str) -> list[int]:
    """The first frames of parts that were made apart from the frame before; for a method without parts, every 16th."""
    step = {"conditioned": TRAINED_FRAMES - 1, "replacement": TRAINED_FRAMES - CONTEXT}.get(method, TRAINED_FRAMES)
    return list(range(TRAINED_FRAMES, NUM_FRAMES, step))


def seam_ratio(clips: list[np.ndarray], joins: list[int]) -> float:
    """The mean step between the frames at the joins ÷ the mean step within 4 frames around them."""
    at, around = [], []
    for frames in clips:
        steps = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean((1, 2, 3))  # [i]: from frame i to i + 1
        for join in joins:
            near = [step for step in range(join - 1 - NEAR, join + NEAR) if 0 <= step < len(steps)]
            at.append(steps[join - 1])
            around += [steps[step] for step in near if step + 1 not in joins]
    return float(np.mean(at) / max(np.mean(around), 1e-6))


def _maker(method: str, request: SuiteRequest) -> Make:
    if method not in METHODS:
        raise UsageError(f"Unknown method '{method}'. Choose one of: {', '.join(METHODS)}.")
    pipeline = LongVideoPipeline.from_pretrained(request.model, device=request.device)
    settings: dict[str, Any] = {"method": method, **request.settings}
    if method == "replacement":
        settings["context_frames"] = CONTEXT
    return lambda prompt, seed: pipeline(prompt, NUM_FRAMES, seed=seed, **settings).frames


def _judged(scenes: list[Scene], clips: list[np.ndarray], joins: list[int]) -> dict[str, Any]:
    segments = []
    for start in range(0, NUM_FRAMES, TRAINED_FRAMES):
        parts = [clip[start : start + TRAINED_FRAMES] for clip in clips]
        row = shares(right(scene, read(part)) for scene, part in zip(scenes, parts, strict=True))
        row["colour drift"] = mean(
            [drift(clip[:TRAINED_FRAMES], part) for clip, part in zip(clips, parts, strict=True)]
        )
        segments.append(row)
    return {"segments": segments, "seam": seam_ratio(clips, joins)}
