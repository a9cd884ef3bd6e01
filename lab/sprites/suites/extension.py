"""How a clip holds when it is extended again and again: does it keep what it shows, and does the motion go on?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch

from lavie.errors import UsageError
from lavie.evaluation.report import NUMBER, PERCENT, SuiteRequest, mean, table
from lavie.job import Job
from lavie.long_video import METHODS
from lavie.models.latents import encode_video
from lavie.pipelines import ExtensionPipeline, TextToVideoPipeline
from lavie.pipelines.stage import Stage, to_video
from lavie.runtime.budget import Plan
from lavie.runtime.estimate import Execution

from .. import LASTING, Scene, caption, sample_scene
from ..continuation import PASSING, RECURSION, Course, course, strayed
from .synthetic import batches

RECURSIONS = 4
CONTEXT = 4  # frames that replacement keeps
SHARES = ("background", "colour", "shape", "motion", "found")
DRIFTS = ("colour drift", "background drift")
LASTING_COLUMNS = {**dict.fromkeys(SHARES, PERCENT), **dict.fromkeys((*DRIFTS, "place drift", "jump"), NUMBER)}
PASSING_COLUMNS = {**dict.fromkeys(SHARES, PERCENT), **dict.fromkeys((*DRIFTS, "pace", "pace at the joint"), NUMBER)}

# Goes on from the given clips, by prompts and seeds, for so many frames: uint8 [clips, frames, h, w, 3].
Extend = Callable[[list[Course], list[str], list[int], int], np.ndarray]


def measure(request: SuiteRequest) -> dict:
    """Figures per recursion for what lasts, and until the border for what passes; `clips` of each.

    "judge" holds the same figures of the renderer's own frames. See `continuation.strayed`.
    """
    method = request.method or "conditioned"
    continuing = [name for name, each in METHODS.items() if each.continues]
    if method not in continuing:
        raise UsageError(f"Unknown method '{method}'. Choose one of: {', '.join(continuing)}.")
    stage, extend = (_conditioned if method == "conditioned" else _replacement)(request)
    size = stage.family.base.height, stage.family.base.width
    figures: dict = {"clips": request.clips, "method": method}
    for kind, motions, recursions in (("lasting", LASTING, RECURSIONS), ("passing", PASSING, 1)):
        made: dict[int, list[dict[str, float]]] = defaultdict(list)
        true: dict[int, list[dict[str, float]]] = defaultdict(list)
        for some, seeds in batches(scenes_of(motions, request.clips, request.seed), request):
            courses = [course(scene, *size, recursions) for scene in some]
            clips = extend(courses, [caption(scene) for scene in some], seeds, RECURSION * recursions)
            for followed, frames in zip(courses, clips, strict=True):
                for recursion in range(recursions):
                    _add(made, recursion, strayed(followed, frames, recursion))
                    _add(true, recursion, strayed(followed, followed.truth, recursion))
            request.progress(len(some))
        figures[kind] = {"generated": _means(made), "judge": _means(true)}
    return figures


def show(figures: dict) -> str:
    lasting, passing = figures["lasting"], figures["passing"]
    ways = {"generated": "made", "judge": "true"}
    return "\n".join(
        [
            f"{figures['clips']} held-out clips of each kind, {RECURSION} frames a recursion, {figures['method']}; "
            "true: the renderer's own frames, judged alike",
            table(
                "what lasts",
                LASTING_COLUMNS,
                {
                    f"recursion {number}, {name}": row
                    for way, name in ways.items()
                    for number, row in lasting[way].items()
                },
            ),
            table(
                "what passes",
                PASSING_COLUMNS,
                {name: row for way, name in ways.items() for row in passing[way].values()},
            ),
            "lasts: stands still, spins, bounces; passes: travels, grows, shrinks, followed until the border; "
            "drift: of 255, from the given frames; place drift, jump at the joint: pixels of 64×96; pace: 1 is true",
        ]
    )


def scenes_of(motions: tuple[str, ...], count: int, seed: int) -> list[Scene]:
    """Held-out scenes with the motions in turn."""
    generator = torch.Generator().manual_seed(seed)
    return [sample_scene(generator, held_out=True, motion=motions[i % len(motions)]) for i in range(count)]


def _conditioned(request: SuiteRequest) -> tuple[Stage, Extend]:
    """By the extension stage, from the last frame."""
    pipeline = ExtensionPipeline.from_pretrained(request.model, device=request.device)

    def extend(courses: list[Course], prompts: list[str], seeds: list[int], num_frames: int) -> np.ndarray:
        ends = [each.given[-1:] for each in courses]
        videos = pipeline.generate(prompts, ends, seeds, num_frames=num_frames, **request.settings)
        return np.stack([video.frames[1:] for video in videos])

    return pipeline.stage, extend


def _replacement(request: SuiteRequest) -> tuple[Stage, Extend]:
    """By the base stage, without training: the last frames are put back at every step."""
    stage = TextToVideoPipeline.from_pretrained(request.model, device=request.device).stage
    config, method = stage.config.configured(stage.name, **request.settings), METHODS["replacement"]
    how = method.settings(config.clip_frames, context_frames=CONTEXT)

    def extend(courses: list[Course], prompts: list[str], seeds: list[int], num_frames: int) -> np.ndarray:
        ends = torch.cat([to_video(each.given[-CONTEXT:], stage.device) for each in courses])
        text = stage.embed(prompts, config.negative_prompt)
        own_seeds = [(seeds[0] + clip) % 2**64 for clip in range(len(ends))]
        job = Job.seeded(stage.unet, text, config, own_seeds, stage.device)
        latents = method.continued(job, encode_video(stage.vae, ends), num_frames, how)
        return stage.decode(latents, Plan(config, Execution()), None)

    return stage, extend


def _add(found: dict[int, list], recursion: int, figures: dict[str, float] | None) -> None:
    if figures is not None:
        found[recursion].append(figures)


def _means(found: dict[int, list[dict[str, float]]]) -> dict[int, dict[str, float]]:
    """Of every recursion, from 1, the mean of every figure over the clips that have it; "clips": of how many."""
    means = {}
    for recursion, clips in found.items():
        names = {name for clip in clips for name in clip}
        means[recursion + 1] = {name: mean([clip[name] for clip in clips if name in clip]) for name in sorted(names)}
        means[recursion + 1]["clips"] = len(clips)
    return means
