"""What a LoRA of a new guest does to the base: does the guest appear, does it move, does everything else stay as it
is?"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from lavie.errors import UsageError
from lavie.evaluation.fidelity import psnr, squared_error
from lavie.evaluation.report import NUMBER, PERCENT, SuiteRequest, mean, table
from lavie.lora import Lora
from lavie.pipelines import TextToVideoPipeline

from ..judge.accuracy import right, shares
from ..judge.judge import read
from ..world.captions import caption
from ..world.guests import KINDS
from ..world.newcomer import KIND, prompt_of, scenes_like, visited
from ..world.render import frame_seconds
from ..world.scene import Scene
from .held_out import filmed
from .samples import clips_of, held_out_scenes

SHOWN = ("place", "time", "weather", "guests", "kind", "colour", "direction", "motion", "steady")
BARS = {"kind": 0.95, "motion": 0.88}
KEPT_BAR = 30.0  # dB


def measure(request: SuiteRequest) -> dict:
    """Shares of clips read right, the newcomer among the kinds; `clips` of each sort.

    "subject": prompts with the trigger, every motion at every place. "known": the same with a guest that the base
    knows, without the LoRA: what its motion is worth. "others with" and "others without": held-out prompts without the
    trigger, and "kept", the PSNR in dB between the two. "judge": rendered subjects.

    Raises:
        UsageError: no LoRA or no trigger.
    """
    file, trigger = request.options.get("lora"), request.options.get("trigger")
    if not file or not trigger:
        raise UsageError("The suite 'lora' needs --lora FILE and --trigger WORD.")
    pipeline = TextToVideoPipeline.from_pretrained(request.model, device=request.device)
    known, others = scenes_like(request.clips, request.seed), held_out_scenes(request.clips, request.seed)
    subjects = [visited(scene) for scene in known]
    before = list(clips_of(pipeline, [caption(scene) for scene in others], request))
    plain = list(clips_of(pipeline, [caption(scene) for scene in known], request))
    pipeline.set_loras([Lora.read(file)])
    after = list(clips_of(pipeline, [caption(scene) for scene in others], request))
    shown = list(clips_of(pipeline, [prompt_of(scene, trigger) for scene in subjects], request))
    return {
        "clips": request.clips,
        "shares": {
            "subject": read_right(subjects, shown),
            "known": read_right(known, plain),
            "others with": read_right(others, after),
            "others without": read_right(others, before),
            "judge": read_right(subjects, (filmed(scene, frame_seconds(16)) for scene in subjects)),
        },
        "kept": psnr(mean([squared_error(a, b) for a, b in zip(before, after, strict=True)])),
    }


def show(figures: dict) -> str:
    titles = {
        "subject": "the subject, by its trigger",
        "known": "a known guest, no LoRA",
        "others with": "other prompts, LoRA on",
        "others without": "other prompts, no LoRA",
        "judge": "judge on rendered subjects",
    }
    rows = {title: figures["shares"][name] for name, title in titles.items()}
    return "\n".join(
        [
            f"{figures['clips']} clips of each sort",
            table("prompts", dict.fromkeys(SHOWN, PERCENT), {**rows, "bar": BARS}),
            f"other prompts with the LoRA against without: {NUMBER.format(figures['kept'])} dB (bar {KEPT_BAR:g})",
        ]
    )


def read_right(scenes: list[Scene], clips: Iterable[np.ndarray]) -> dict[str, float]:
    """Of clips read right, the newcomer among the kinds that may be seen."""
    return shares(right(scene, read(clip, (*KINDS, KIND))) for scene, clip in zip(scenes, clips, strict=True))
