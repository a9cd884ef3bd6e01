"""Clips of a family for scenes that training never sees, in batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from lavie.evaluation.report import SuiteRequest
from lavie.pipelines import TextToVideoPipeline

from ..world.captions import caption
from ..world.grammar import scene_of
from ..world.scene import Scene

SEED = 1000


def held_out_scenes(count: int, seed: int = SEED) -> list[Scene]:
    return [scene_of(seed, number, held_out=True) for number in range(count)]


def sampled(request: SuiteRequest, scenes: list[Scene], frames: int = 16) -> Iterator[tuple[Scene, np.ndarray]]:
    """Each scene with the clip that its canonical caption gives, uint8 [frames, h, w, 3]; scene i has seed + i."""
    pipeline = TextToVideoPipeline.from_pretrained(request.model, device=request.device)
    prompts = [caption(scene, still=frames == 1) for scene in scenes]
    yield from zip(scenes, clips_of(pipeline, prompts, request, num_frames=frames), strict=True)


def clips_of(
    pipeline: TextToVideoPipeline, prompts: list[str], request: SuiteRequest, **settings
) -> Iterator[np.ndarray]:
    """A clip for each prompt, in bfloat16; prompt i has the request's seed + i."""
    settings = {**request.settings, **settings}
    for start in range(0, len(prompts), request.batch):
        some = prompts[start : start + request.batch]
        seeds = [request.seed + start + number for number in range(len(some))]
        with torch.autocast(pipeline.stage.device.type, torch.bfloat16):
            clips = pipeline.generate(some, seeds, **settings)
        yield from (clip.frames for clip in clips)
        request.progress(len(some))
