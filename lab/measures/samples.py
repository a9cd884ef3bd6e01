"""Clips of a family for scenes that training never sees, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import torch

from lavie.pipelines import TextToVideoPipeline

from ..world.captions import caption
from ..world.grammar import scene_of
from ..world.scene import Scene

SEED = 1000


def held_out_scenes(count: int, seed: int = SEED) -> list[Scene]:
    return [scene_of(seed, number, held_out=True) for number in range(count)]


def sampled(
    family: str, scenes: list[Scene], frames: int = 16, batch: int = 8, seed: int = SEED, bf16: bool = True, **settings
) -> Iterator[tuple[Scene, np.ndarray]]:
    """Each scene with the clip that its canonical caption gives, uint8 [frames, h, w, 3]; scene i has seed + i."""
    pipeline = TextToVideoPipeline.from_pretrained(family)
    for start in range(0, len(scenes), batch):
        some = scenes[start : start + batch]
        prompts = [caption(scene, still=frames == 1) for scene in some]
        seeds = [seed + start + number for number in range(len(some))]
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            clips = pipeline.generate(prompts, seeds, num_frames=frames, **settings)
        yield from ((scene, clip.frames) for scene, clip in zip(some, clips, strict=True))
