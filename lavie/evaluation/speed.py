"""What every speed, and every knob of it alone, saves and costs, beside the exact way with the same seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from ..errors import UsageError
from ..pipelines import InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from ..pipelines.stage import StagePipeline
from ..speed import SPEEDS, Speed
from ..training.synthetic import Scene, caption, frame_times
from .arithmetic import counted_arithmetic
from .fidelity import psnr, squared_error, ssim
from .interpolation import FACTOR, NUM_FRAMES
from .report import NUMBER, PERCENT, Request, clock_of, table
from .synthetic import held_out_scenes, mean, rendered, score
from .upscaler import FRAMES, SCALE

PRESETS: dict[str, str | Speed] = {name: name for name in SPEEDS}
KNOBS: dict[str, str | Speed] = {
    "half the steps, dpmpp_2m": Speed(steps=0.5, scheduler="dpmpp_2m"),
    "half the steps, unipc": Speed(steps=0.5, scheduler="unipc"),
    "guidance until 0.6": Speed(guidance_until=0.6),
    "guidance from 0.2 until 0.8": Speed(guidance_from=0.2, guidance_until=0.8),
    "guidance every 2nd step": Speed(guidance_every=2),
    "deep features every 2nd step": Speed(full_every=2),
    "deep features every 3rd step": Speed(full_every=3),
}
LATER_KNOBS: dict[str, str | Speed] = {
    "half the steps": Speed(steps=0.5),
    "a fifth of the steps": Speed(steps=0.2),
    "a tenth of the steps": Speed(steps=0.1),
    "deep features every 2nd step": Speed(full_every=2),
    "half the steps, deep features every 3rd": Speed(steps=0.5, full_every=3),
    "a fifth, deep features every 2nd": Speed(steps=0.2, full_every=2),
}
COLUMNS = {
    "seconds": NUMBER,
    "faster": "×{:.2f}",
    "arithmetic": PERCENT,
    "PSNR": NUMBER,
    "SSIM": "{:.3f}",
    "truth": NUMBER,
}
SHARES = dict.fromkeys(("background", "colour", "shape", "direction", "steady"), PERCENT)
# A clip of a scene at a speed, uint8 [frames, height, width, 3].
Make = Callable[[Scene, int, "str | Speed"], np.ndarray]


def measure(request: Request) -> dict:
    """By stage and case: seconds for a clip, how much faster than exact (the median over the clips, each made in turn
    by all cases), the network's share of arithmetic, PSNR in dB and SSIM against the exact clip; of the base the
    judge's shares, of the later stages "truth", the PSNR against what the renderer shows.

    The first clip is for the counting of arithmetic, the others are timed; on a CPU by the time that its cores work.

    Raises:
        UsageError: `method` names none of the three stages.
    """
    if request.method not in ("", *STAGES):
        raise UsageError(f"Unknown stage '{request.method}'. Choose one of: {', '.join(STAGES)}.")
    scenes = held_out_scenes(request.clips, request.seed)
    chosen = [request.method] if request.method else list(STAGES)
    return {"clips": len(scenes), "stages": {name: _measured(name, scenes, request) for name in chosen}}


def show(figures: dict) -> str:
    tables = []
    for stage, rows in figures["stages"].items():
        columns = {name: pattern for name, pattern in COLUMNS.items() if name in rows["exact"]}
        tables.append(table(stage, columns, rows))
        if "shares" in rows["exact"]:
            tables.append(table("as the prompt says", SHARES, {name: row["shares"] for name, row in rows.items()}))
    head = f"{figures['clips']} held-out clips; PSNR and SSIM against exact, truth: PSNR against the renderer"
    return "\n".join([head, *tables])


@dataclass
class Case:
    """What was made at one speed; seconds: of every clip but the first; operations: of the first."""

    clips: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    operations: int = 0


def _measured(stage: str, scenes: list[Scene], request: Request) -> dict[str, dict]:
    pipeline_class, make_of, speeds = STAGES[stage]
    speeds = PRESETS if request.presets_only else speeds
    pipeline = pipeline_class.from_pretrained(request.model, device=request.device)
    config = pipeline.stage.config.replaced(**request.settings)
    pipeline = pipeline_class(replace(pipeline.stage, config=config))
    cases = _made(pipeline, make_of(pipeline), scenes, speeds, request)
    exact = cases["exact"]
    rows = {name: _figures(case, exact) for name, case in cases.items()}
    truths = [] if stage == "base" else [_truth(pipeline, scene) for scene in scenes]
    for name, case in cases.items():
        if truths:
            rows[name]["truth"] = _psnr(zip(case.clips, truths, strict=True))
        else:
            rows[name]["shares"] = score(scenes, case.clips).shares
    return rows


def _made(
    pipeline: StagePipeline, make: Make, scenes: list[Scene], speeds: dict[str, str | Speed], request: Request
) -> dict[str, Case]:
    cases, clock = {name: Case() for name in speeds}, clock_of(pipeline.stage.device)
    for index, scene in enumerate(scenes):
        for name, case in cases.items():
            with counted_arithmetic(pipeline.stage.unet) if index == 0 else nullcontext([]) as counts:
                started = clock()
                case.clips.append(make(scene, request.seed + index, speeds[name]))
                seconds = clock() - started
            if index == 0:
                case.operations = sum(counts)
            else:
                case.seconds.append(seconds)
        request.progress(1)
    return cases


def _figures(case: Case, exact: Case) -> dict:
    pairs = list(zip(case.clips, exact.clips, strict=True))
    ratios = [theirs / ours for ours, theirs in zip(case.seconds, exact.seconds, strict=True)]
    return {
        "seconds": mean(case.seconds),
        "faster": median(ratios) if ratios else float("nan"),
        "arithmetic": case.operations / exact.operations,
        "PSNR": _psnr(pairs),
        "SSIM": mean([ssim(*pair) for pair in pairs]),
    }


def _psnr(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    return psnr(mean([squared_error(*pair) for pair in pairs]))


def _base(pipeline: TextToVideoPipeline) -> Make:
    return lambda scene, seed, speed: pipeline(caption(scene), seed=seed, speed=speed).frames


def _later(pipeline: InterpolationPipeline | UpscalePipeline) -> Make:
    """From rendered frames, as the stage before hands them over."""
    base = pipeline.stage.family.base
    times = frame_times(NUM_FRAMES)[::FACTOR] if isinstance(pipeline, InterpolationPipeline) else FRAMES

    def make(scene: Scene, seed: int, speed: str | Speed) -> np.ndarray:
        return pipeline(rendered(scene, times, base.height, base.width), caption(scene), seed=seed, speed=speed).frames

    return make


def _truth(pipeline: InterpolationPipeline | UpscalePipeline, scene: Scene) -> np.ndarray:
    base = pipeline.stage.family.base
    if isinstance(pipeline, InterpolationPipeline):
        return rendered(scene, frame_times(NUM_FRAMES), base.height, base.width)
    return rendered(scene, FRAMES, SCALE * base.height, SCALE * base.width)


STAGES = {
    "base": (TextToVideoPipeline, _base, {**PRESETS, **KNOBS}),
    "interpolation": (InterpolationPipeline, _later, {**PRESETS, **LATER_KNOBS}),
    "upscaler": (UpscalePipeline, _later, {**PRESETS, **LATER_KNOBS}),
}
