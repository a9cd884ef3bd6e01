"""What a LoRA of a new subject does to the base: does the subject appear, does it move, does all else stay?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ..errors import UsageError
from ..lora import Lora
from ..pipelines import TextToVideoPipeline
from ..training.synthetic import BACKGROUNDS, MOTIONS, SHAPES, SUBJECTS, Scene, caption, sample_scene
from .fidelity import psnr, squared_error
from .judge import read
from .report import NUMBER, PERCENT, Request, table
from .synthetic import batches, held_out_scenes, mean, rendered_like, score_readings

SUBJECT, COLOUR = SUBJECTS[0], "red"
KNOWN = (*SHAPES, *SUBJECTS)
SHOWN = ("background", "colour", "shape", "direction", "motion", "steady")


def measure(request: Request) -> dict:
    """Shares of clips read right; `clips` of each kind.

    "subject": prompts with the trigger, every motion over every background. "known": the same motions and backgrounds
    with a shape that the base knows, without the LoRA: what its motion is worth. "others": held-out prompts without
    the trigger, with the LoRA and without, and "kept", the PSNR in dB between the two. "both": the subject's prompts
    with another LoRA beside this one, if there is one. "judge": rendered subjects. "warmth" of all: red minus blue,
    the mean of −255…255.

    Raises:
        UsageError: no LoRA or no trigger.
    """
    if not request.lora or not request.trigger:
        raise UsageError("The suite 'lora' needs --lora FILE and --trigger WORD.")
    pipeline = TextToVideoPipeline.from_pretrained(request.model, device=request.device)
    loras = [Lora.read(request.lora)]
    other = [Lora.read(request.other_lora)] if request.other_lora else []
    subjects = subject_scenes(request.clips, request.seed)
    known = [replace(scene, shape=SHAPES[index % len(SHAPES)]) for index, scene in enumerate(subjects)]
    others = held_out_scenes(request.clips, request.seed)
    triggered = [prompt_of(scene, request.trigger) for scene in subjects]
    before = made(pipeline, others, [caption(scene) for scene in others], request)
    figures = {
        "known": shares(known, made(pipeline, known, [caption(scene) for scene in known], request)),
        "others without": shares(others, before),
    }
    pipeline.set_loras(loras)
    after = made(pipeline, others, [caption(scene) for scene in others], request)
    figures["others with"] = shares(others, after)
    figures["subject"] = shares(subjects, made(pipeline, subjects, triggered, request))
    if other:
        pipeline.set_loras(loras + other)
        figures["both"] = shares(subjects, made(pipeline, subjects, triggered, request))
    figures["judge"] = shares(subjects, list(rendered_like(pipeline, subjects)))
    kept = psnr(mean([squared_error(a, b) for a, b in zip(before, after, strict=True)]))
    return {"clips": request.clips, "shares": figures, "kept": kept}


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
    return "\n".join(
        [
            f"{figures['clips']} clips of each kind",
            table("prompts", dict.fromkeys(SHOWN, PERCENT) | {"warmth": NUMBER}, rows),
            f"other prompts with the LoRA against without: {NUMBER.format(figures['kept'])} dB",
        ]
    )


def subject_scenes(count: int, seed: int) -> list[Scene]:
    """Scenes of the subject: all motions and backgrounds in turn, as far as it can be seen there."""
    generator = torch.Generator().manual_seed(seed)
    pairs = [(motion, background) for background in BACKGROUNDS for motion in MOTIONS]
    return [
        sample_scene(generator, colour=COLOUR, shape=SUBJECT, motion=motion, background=background)
        for motion, background in (pairs[index * 10 % len(pairs)] for index in range(count))
    ]


def prompt_of(scene: Scene, trigger: str) -> str:
    """The canonical caption with the trigger in the place of colour and shape."""
    return caption(scene).replace(f"a {scene.colour} {scene.shape}", f"a {trigger}")


def made(pipeline: TextToVideoPipeline, scenes: list[Scene], prompts: list[str], request: Request) -> list[np.ndarray]:
    """A clip for each prompt; clip i has the request's seed + i."""
    clips, start = [], 0
    for some, seeds in batches(scenes, request):
        videos = pipeline.generate(prompts[start : start + len(some)], seeds, **request.settings)
        clips += [video.frames for video in videos]
        start += len(some)
        request.progress(len(some))
    return clips


def shares(scenes: list[Scene], clips: list[np.ndarray]) -> dict[str, float]:
    """Of clips read right, among all shapes and the subject; and their warmth."""
    read_right = score_readings(scenes, [read(clip, KNOWN) for clip in clips]).shares
    return {**read_right, "warmth": mean([float(clip[..., 0].mean() - clip[..., 2].mean()) for clip in clips])}
