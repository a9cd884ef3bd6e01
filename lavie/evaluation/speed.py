"""What every speed, and every knob of it alone, saves and costs, beside the exact way with the same seed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any, Protocol

import numpy as np

from ..errors import UsageError
from ..pipelines import InterpolationPipeline, TextToVideoPipeline, UpscalePipeline, VideoOutput
from ..pipelines.stage import Stage
from ..speed import SPEEDS, Speed
from .arithmetic import counted_arithmetic
from .fidelity import psnr, squared_error, ssim
from .interpolation import FACTOR, NUM_FRAMES
from .real_clips import clips_of
from .report import NUMBER, PERCENT, SuiteRequest, clock_of, mean, table
from .true_clips import TrueClips
from .upscaler import SCALE

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


def measure(request: SuiteRequest) -> dict:
    """By stage and case: seconds for a clip, how much faster than exact (the median over the clips, each made in turn
    by all cases), the network's share of arithmetic, PSNR in dB and SSIM against the exact clip; of the base "shares",
    if the clips can tell, of the later stages "truth", the PSNR against the true frames.

    The first clip is for the counting of arithmetic, the others are timed; on a CPU by the time that its cores work.

    Raises:
        UsageError: `method` names none of the three stages.
    """
    if request.method not in ("", *STAGES):
        raise UsageError(f"Unknown stage '{request.method}'. Choose one of: {', '.join(STAGES)}.")
    clips = clips_of(request)
    chosen = [request.method] if request.method else list(STAGES)
    return {"clips": len(clips), "stages": {name: _measured(name, clips, request) for name in chosen}}


def show(figures: dict) -> str:
    tables = []
    for stage, rows in figures["stages"].items():
        columns = {name: pattern for name, pattern in COLUMNS.items() if name in rows["exact"]}
        tables.append(table(stage, columns, rows))
        if "shares" in rows["exact"]:
            columns = dict.fromkeys(rows["exact"]["shares"], PERCENT)
            tables.append(table("as the prompt says", columns, {name: row["shares"] for name, row in rows.items()}))
    head = f"{figures['clips']} clips; PSNR and SSIM against exact, truth: PSNR against the true frames"
    return "\n".join([head, *tables])


@dataclass(frozen=True)
class Given:
    """What a clip is made from: its caption, and for the later stages frames; truth: the frames that it should have."""

    caption: str
    frames: np.ndarray | None = None
    truth: np.ndarray | None = None


class Pipeline(Protocol):
    """A stage's pipeline, called with frames where it takes some, and with the prompt."""

    stage: Stage

    def __call__(self, *inputs: Any, **settings: Any) -> VideoOutput: ...


@dataclass
class Case:
    """What was made at one speed; seconds: of every clip but the first; operations: of the first."""

    clips: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    operations: int = 0


def _measured(stage: str, clips: TrueClips, request: SuiteRequest) -> dict[str, dict]:
    pipeline_class, given_to, speeds = STAGES[stage]
    speeds = PRESETS if request.options.get("presets_only") else speeds
    pipeline = pipeline_class.from_pretrained(request.model, device=request.device)
    config = pipeline.stage.config.replaced(**request.settings)
    pipeline = pipeline_class(replace(pipeline.stage, config=config))
    given = [given_to(pipeline, clips, number) for number in range(len(clips))]
    cases = _made(pipeline, given, speeds, request)
    exact = cases["exact"]
    rows = {name: _figures(case, exact) for name, case in cases.items()}
    truths = [each.truth for each in given if each.truth is not None]
    for name, case in cases.items():
        if truths:
            rows[name]["truth"] = _psnr(zip(case.clips, truths, strict=True))
        elif shares := clips.shares(case.clips):
            rows[name]["shares"] = shares
    return rows


def _made(
    pipeline: Pipeline, given: list[Given], speeds: dict[str, str | Speed], request: SuiteRequest
) -> dict[str, Case]:
    cases, clock = {name: Case() for name in speeds}, clock_of(pipeline.stage.device)
    for index, each in enumerate(given):
        frames = () if each.frames is None else (each.frames,)
        for name, case in cases.items():
            with counted_arithmetic(pipeline.stage.unet) if index == 0 else nullcontext([]) as counts:
                started = clock()
                video = pipeline(*frames, each.caption, seed=request.seed + index, speed=speeds[name])
                seconds = clock() - started
            case.clips.append(video.frames)
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


def _to_base(pipeline: TextToVideoPipeline, clips: TrueClips, number: int) -> Given:
    return Given(clips.caption(number))


def _to_interpolation(pipeline: InterpolationPipeline, clips: TrueClips, number: int) -> Given:
    base = pipeline.stage.family.base
    clip = clips.clip(number, NUM_FRAMES, base.height, base.width)
    return Given(clip.caption, clip.frames[::FACTOR], clip.frames)


def _to_upscaler(pipeline: UpscalePipeline, clips: TrueClips, number: int) -> Given:
    base = pipeline.stage.family.base
    small, large = clips.reduced(number, base.height, base.width, SCALE)
    return Given(large.caption, small, large.frames)


STAGES = {
    "base": (TextToVideoPipeline, _to_base, {**PRESETS, **KNOBS}),
    "interpolation": (InterpolationPipeline, _to_interpolation, {**PRESETS, **LATER_KNOBS}),
    "upscaler": (UpscalePipeline, _to_upscaler, {**PRESETS, **LATER_KNOBS}),
}
