"""How faithful the base stage is to its prompts, on held-out combinations of the synthetic world."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch

from ..errors import UsageError
from ..pipelines import TextToVideoPipeline
from ..sampling import TextCondition, guided
from ..training.objective import add_noise, weighted_error
from ..training.synthetic import DIRECTIONS, Scene, caption, frame_times, render, sample_scene
from .judge import read

OPPOSITE = {
    "moving left": "moving right",
    "moving right": "moving left",
    "moving up": "moving down",
    "moving down": "moving up",
}
ATTRIBUTES = ("background", "colour", "shape", "direction", "motion", "steady")
GAP_TIMESTEPS = (300, 500, 700, 900)


@dataclass(frozen=True)
class Score:
    """Shares of clips read as the caption says, 0…1, over `count` clips (direction: over those that move)."""

    count: int
    shares: dict[str, float]


def held_out_scenes(count: int, seed: int) -> list[Scene]:
    """Scenes whose combination of attributes training never showed."""
    if count < 1:
        raise UsageError(f"The number of prompts must be at least 1, not {count}.")
    generator = torch.Generator().manual_seed(seed)
    return [sample_scene(generator, held_out=True) for _ in range(count)]


def score(scenes: list[Scene], clips: Iterable) -> Score:
    """Let the judge read each clip, uint8 [frames, height, width, 3], and compare with its scene."""
    marks: dict[str, list[bool]] = {name: [] for name in ATTRIBUTES}
    for scene, clip in zip(scenes, clips, strict=True):
        reading = read(clip)
        for name in ("background", "colour", "shape", "motion"):
            marks[name].append(getattr(reading, name) == getattr(scene, name))
        if scene.motion in DIRECTIONS:
            marks["direction"].append(reading.direction == scene.motion)
        marks["steady"].append(reading.steady)
    return Score(len(scenes), {name: sum(m) / len(m) for name, m in marks.items() if m})


def rendered_clips(scenes: list[Scene], frames: int, height: int, width: int) -> Iterable:
    """What the renderer shows for each scene: the judge's own accuracy is measured on these."""
    for scene in scenes:
        video, _ = render([scene], frame_times(frames), height, width)
        yield ((video[0].permute(1, 2, 3, 0) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()


def generated_clips(
    pipeline: TextToVideoPipeline,
    scenes: list[Scene],
    seed: int,
    batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
    **settings,
) -> Iterable:
    """One clip per scene from its canonical caption; clip i has seed `seed` + i."""
    for start in range(0, len(scenes), batch):
        prompts = [caption(scene) for scene in scenes[start : start + batch]]
        seeds = [seed + start + i for i in range(len(prompts))]
        yield from (video.frames for video in pipeline.generate(prompts, seeds, **settings))
        if progress is not None:
            progress(start + len(prompts), len(scenes))


@torch.no_grad()
def word_swap_gap(pipeline: TextToVideoPipeline, count: int, seed: int) -> float:
    """Relative growth of the loss when the direction word is replaced by its opposite; 0 means it is not read.

    Averaged over `count` moving scenes and the middle and high noise levels.
    """
    generator = torch.Generator().manual_seed(seed)
    stage = pipeline.stage
    right = wrong = 0.0
    for index in range(count):
        scene = sample_scene(generator, motion=DIRECTIONS[index % len(DIRECTIONS)])
        size = (stage.config.height, stage.config.width)
        video, _ = render([scene], frame_times(stage.config.num_frames), *size)
        latents = stage.vae.encode(video[0].transpose(0, 1)).latent_dist.mean.transpose(0, 1)[None]
        latents = latents * stage.vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=generator)
        texts = stage.text_encoder.encode([caption(scene), caption(replace(scene, motion=OPPOSITE[scene.motion]))])
        for timestep in GAP_TIMESTEPS:
            t = torch.tensor([timestep])
            sample = add_noise(latents, noise, t)
            for words in (0, 1):
                predict = guided(stage.unet, TextCondition(texts[words : words + 1], texts[:1]), 1.0)
                error = weighted_error(predict(sample, t, (slice(None),) * 3), noise, t, "epsilon").item()
                right, wrong = (right + error, wrong) if words == 0 else (right, wrong + error)
    return wrong / right - 1
