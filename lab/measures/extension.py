"""How a clip holds up when it is extended again and again: does it keep what it shows, and does the motion go on?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch

from lavie.errors import UsageError
from lavie.evaluation.report import NUMBER, PERCENT, SuiteRequest, table
from lavie.job import Job
from lavie.long_video import METHODS
from lavie.models.latents import encode_video
from lavie.pipelines import ExtensionPipeline, TextToVideoPipeline
from lavie.pipelines.stage import Stage, to_video
from lavie.runtime.budget import Plan
from lavie.runtime.estimate import Execution

from ..judge.accuracy import right, shares
from ..judge.features import small_frames
from ..judge.judge import read
from ..world.captions import caption
from ..world.grammar import scene_of
from ..world.scene import Scene
from ..world.view import SECONDS
from .held_out import filmed

GIVEN = 16  # frames of a clip that goes on
RECURSION = 15  # frames that a window of 16 adds to the one frame it is shown
RECURSIONS = 5
CONTEXT = 4  # frames that replacement keeps
LASTING = ("still", "pan left", "pan right")  # cameras whose move can go on
KEPT = ("place", "time", "weather", "camera", "guests", "kind", "colour", "motion", "steady")
BANDS = 8  # of rows, whose colours drift
BARS = {**dict.fromkeys(("place", "time", "guests", "motion"), 0.95), "colour drift": 5.0}

# (given clips, prompts, seeds, number of frames) → the frames that follow, uint8 [clips, frames, h, w, 3].
Extend = Callable[[list[np.ndarray], list[str], list[int], int], np.ndarray]


def measure(request: SuiteRequest) -> dict:
    """Figures for every recursion, counted from 1, on scenes whose motion can go on forever.

    Shares are as in `lab.judge.accuracy.right`. "colour drift": of rows of frames, from those given, of 255. "jump":
    the step at the join ÷ the steps after it. "true" holds the same figures of the renderer's own frames.
    """
    method = request.method or "conditioned"
    continuing = [name for name, each in METHODS.items() if each.continues]
    if method not in continuing:
        raise UsageError(f"Unknown method '{method}'. Choose one of: {', '.join(continuing)}.")
    stage, extend = (_conditioned if method == "conditioned" else _replacement)(request)
    base, frames = stage.family.base, RECURSION * RECURSIONS
    found: dict[str, list[list[dict]]] = {"made": [], "true": []}
    for some, seeds in in_batches(lasting_scenes(request.clips, request.seed), request):
        courses = [course(scene, GIVEN + frames, base.height, base.width) for scene in some]
        given = [each[:GIVEN] for each in courses]
        clips = extend(given, [caption(scene) for scene in some], seeds, frames)
        for scene, true, clip in zip(some, courses, clips, strict=True):
            found["made"].append(kept(scene, true[:GIVEN], clip))
            found["true"].append(kept(scene, true[:GIVEN], true[GIVEN:]))
        request.progress(len(some))
    return {"clips": request.clips, "method": method, **{name: _means(clips) for name, clips in found.items()}}


def show(figures: dict) -> str:
    columns = {**dict.fromkeys(KEPT, PERCENT), "colour drift": NUMBER, "jump": NUMBER}
    rows = {f"recursion {number}, {name}": row for name in ("made", "true") for number, row in figures[name].items()}
    return "\n".join(
        [
            f"{figures['clips']} held-out clips, {RECURSION} frames a recursion, {figures['method']}; true: the "
            "renderer's own frames, judged alike",
            table("what is kept", columns, {**rows, "bar": BARS}),
            "colour drift: of 255, from the given frames; jump: the step at the joint ÷ the steps after it",
        ]
    )


def lasting_scenes(clips: int, seed: int) -> list[Scene]:
    """Held-out scenes whose motion can go on forever: the guest, if any, hovers, and the camera stands still or
    pans."""
    scenes: list[Scene] = []
    for number in count():
        scene = scene_of(seed, number, held_out=True, motion="hovering")
        if scene.camera in LASTING:
            scenes.append(scene)
        if len(scenes) == clips:
            break
    return scenes


def course(scene: Scene, frames: int, height: int, width: int) -> np.ndarray:
    """The renderer's own frames from the start of a clip on and beyond its end, uint8 [frames, h, w, 3]."""
    return filmed(scene, torch.arange(frames) * (SECONDS / RECURSION), height, width)


def kept(scene: Scene, given: np.ndarray, following: np.ndarray) -> list[dict[str, bool | float]]:
    """The figures of every recursion of what follows the given frames."""
    figures = []
    for start in range(0, len(following), RECURSION):
        before = given[-1:] if start == 0 else following[start - 1 : start]
        part = np.concatenate((before, following[start : start + RECURSION]))
        figures.append({**right(scene, read(part)), "colour drift": drift(given, part[1:]), "jump": jump(part)})
    return figures


def drift(first: np.ndarray, later: np.ndarray) -> float:
    """How far the mean colours of rows are apart, of 255."""
    return 255 * float((_rows(later) - _rows(first)).abs().mean())


def _rows(frames: np.ndarray) -> torch.Tensor:
    """[channels, bands]"""
    return small_frames(frames).unflatten(2, (BANDS, -1)).mean((0, 3, 4))


def jump(frames: np.ndarray) -> float:
    """The first step of uint8 [f, h, w, 3] ÷ the mean of the others."""
    steps = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean((1, 2, 3))
    return float(steps[0] / max(steps[1:].mean(), 1e-6))


def in_batches(scenes: list[Scene], request: SuiteRequest) -> Iterator[tuple[list[Scene], list[int]]]:
    """Scenes and their seeds, in batches of the request's size."""
    for start in range(0, len(scenes), request.batch):
        some = scenes[start : start + request.batch]
        yield some, [request.seed + start + index for index in range(len(some))]


def _means(clips: list[list[dict]]) -> dict[int, dict[str, float]]:
    return {number: shares(rows) for number, rows in enumerate(zip(*clips, strict=True), start=1)}


def _conditioned(request: SuiteRequest) -> tuple[Stage, Extend]:
    """By the extension stage, from the last frame."""
    pipeline = ExtensionPipeline.from_pretrained(request.model, device=request.device)

    def extend(given: list[np.ndarray], prompts: list[str], seeds: list[int], num_frames: int) -> np.ndarray:
        ends = [each[-1:] for each in given]
        videos = pipeline.generate(prompts, ends, seeds, num_frames=num_frames, **request.settings)
        return np.stack([video.frames[1:] for video in videos])

    return pipeline.stage, extend


def _replacement(request: SuiteRequest) -> tuple[Stage, Extend]:
    """By the base stage, without training: the last frames are put back at every step."""
    stage = TextToVideoPipeline.from_pretrained(request.model, device=request.device).stage
    config, method = stage.config.configured(stage.name, **request.settings), METHODS["replacement"]
    how = method.settings(config.clip_frames, context_frames=CONTEXT)

    def extend(given: list[np.ndarray], prompts: list[str], seeds: list[int], num_frames: int) -> np.ndarray:
        ends = torch.cat([to_video(each[-CONTEXT:], stage.device) for each in given])
        text = stage.embed(prompts, config.negative_prompt)
        own_seeds = [(seeds[0] + clip) % 2**64 for clip in range(len(ends))]
        job = Job.seeded(stage.unet, text, config, own_seeds, stage.device)
        latents = method.continued(job, encode_video(stage.vae, ends), num_frames, how)
        return stage.decode(latents, Plan(config, Execution()), None)

    return stage, extend
