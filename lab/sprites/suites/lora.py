"""What a LoRA of a new subject does to the base: does the subject appear, does it move, does all else stay?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lavie.errors import UsageError
from lavie.evaluation.fidelity import psnr, squared_error
from lavie.evaluation.report import NUMBER, PERCENT, SuiteRequest, mean, table
from lavie.lora import Lora
from lavie.pipelines import TextToVideoPipeline

from .. import BACKGROUNDS, MOTIONS, SHAPES, SUBJECTS, Scene, caption, sample_scene
from ..held_out import held_out_scenes
from ..judge import read
from ..score import score_readings
from ..signature import nearest_sprite
from .synthetic import batches, rendered_like

COLOUR = "red"
SHOWN = ("background", "colour", "shape", "direction", "motion", "steady")


def measure(request: SuiteRequest) -> dict:
    """Shares of clips read right; `clips` of each kind.

    "subject": prompts with the trigger, every motion over every background. "known": the same motions and backgrounds
    with a shape that the base knows, without the LoRA: what its motion is worth. "others": held-out prompts without
    the trigger, with the LoRA and without, and "kept", the PSNR in dB between the two. "both": the subject's prompts
    with another LoRA beside this one, if there is one. "judge": rendered subjects. "warmth" of all: red minus blue,
    the mean of −255…255. "appears": of some of these, how many show the subject, see `appearing`; of "both" how many
    show it where it is without the other LoRA.

    Raises:
        UsageError: no LoRA or no trigger, or no such subject.
    """
    options = request.options
    if not options.get("lora") or not options.get("trigger"):
        raise UsageError("The suite 'lora' needs --lora FILE and --trigger WORD.")
    subject = options.get("subject") or SUBJECTS[0]
    if subject not in SUBJECTS:
        raise UsageError(f"There is no subject '{subject}' to look for. Choose {', '.join(SUBJECTS)}.")
    pipeline = TextToVideoPipeline.from_pretrained(request.model, device=request.device)
    loras = [Lora.read(options["lora"])]
    other = [Lora.read(options["other_lora"])] if options.get("other_lora") else []
    subjects = subject_scenes(request.clips, request.seed, subject)
    known = [replace(scene, shape=SHAPES[index % len(SHAPES)]) for index, scene in enumerate(subjects)]
    others = held_out_scenes(request.clips, request.seed)
    triggered = [prompt_of(scene, options["trigger"]) for scene in subjects]
    before = made(pipeline, others, [caption(scene) for scene in others], request)
    plain = made(pipeline, known, [caption(scene) for scene in known], request)
    figures = {"known": shares(known, plain, subject), "others without": shares(others, before, subject)}
    appears = {"known": appearing(plain, subject)}
    pipeline.set_loras(loras)
    after = made(pipeline, others, [caption(scene) for scene in others], request)
    figures["others with"] = shares(others, after, subject)
    shown = {"subject": made(pipeline, subjects, triggered, request)}
    if other:
        pipeline.set_loras(loras + other)
        shown["both"] = made(pipeline, subjects, triggered, request)
    shown["judge"] = list(rendered_like(pipeline, subjects))
    figures |= {name: shares(subjects, clips, subject) for name, clips in shown.items()}
    appears |= {
        name: appearing(clips, subject, shown["subject"] if name == "both" else None) for name, clips in shown.items()
    }
    kept = psnr(mean([squared_error(a, b) for a, b in zip(before, after, strict=True)]))
    return {"clips": request.clips, "shares": figures, "appears": appears, "kept": kept}


def show(figures: dict) -> str:
    titles = {
        "subject": "the subject, by its trigger",
        "both": "the same, another LoRA beside it",
        "known": "known shapes, no LoRA",
        "others with": "other prompts, LoRA on",
        "others without": "other prompts, no LoRA",
        "judge": "judge on rendered subjects",
    }
    rows = {title: figures["shares"][name] for name, title in titles.items() if name in figures["shares"]}
    appears = {titles[name]: {"share": share} for name, share in figures["appears"].items()}
    return "\n".join(
        [
            f"{figures['clips']} clips of each kind",
            table("prompts", dict.fromkeys(SHOWN, PERCENT) | {"warmth": NUMBER}, rows),
            table("the subject appears, by outline and colours", {"share": PERCENT}, appears),
            f"other prompts with the LoRA against without: {NUMBER.format(figures['kept'])} dB",
        ]
    )


def appearing(clips: list[np.ndarray], subject: str, found_in: list[np.ndarray] | None = None) -> float:
    """The share of clips whose sprite is nearest to a rendered subject, among all shapes in its colour.

    "shape" goes by the outline alone, which tells little of a subject of several colours; this goes by those, too.
    found_in: see `nearest_sprite`.
    """
    pairs = zip(clips, found_in or [None] * len(clips), strict=True)
    return mean([nearest_sprite(clip, COLOUR, (*SHAPES, subject), plain) == subject for clip, plain in pairs])


def subject_scenes(count: int, seed: int, subject: str) -> list[Scene]:
    """Scenes of the subject: all motions and backgrounds in turn, as far as it can be seen there."""
    generator = torch.Generator().manual_seed(seed)
    pairs = [(motion, background) for background in BACKGROUNDS for motion in MOTIONS]
    return [
        sample_scene(generator, colour=COLOUR, shape=subject, motion=motion, background=background)
        for motion, background in (pairs[index * 10 % len(pairs)] for index in range(count))
    ]


def prompt_of(scene: Scene, trigger: str) -> str:
    """The canonical caption with the trigger in the place of colour and shape."""
    return caption(scene).replace(f"a {scene.colour} {scene.shape}", f"a {trigger}")


def made(
    pipeline: TextToVideoPipeline, scenes: list[Scene], prompts: list[str], request: SuiteRequest
) -> list[np.ndarray]:
    """A clip for each prompt; clip i has the request's seed + i."""
    clips, start = [], 0
    for some, seeds in batches(scenes, request):
        videos = pipeline.generate(prompts[start : start + len(some)], seeds, **request.settings)
        clips += [video.frames for video in videos]
        start += len(some)
        request.progress(len(some))
    return clips


def shares(scenes: list[Scene], clips: list[np.ndarray], subject: str) -> dict[str, float]:
    """Of clips read right, among all shapes and the subject; and their warmth."""
    read_right = score_readings(scenes, [read(clip, (*SHAPES, subject)) for clip in clips]).shares
    return {**read_right, "warmth": mean([float(clip[..., 0].mean() - clip[..., 2].mean()) for clip in clips])}
