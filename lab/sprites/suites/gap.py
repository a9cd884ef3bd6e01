"""The word-swap gap: how much a network loses when a word of the caption is wrong.

It shows that a word is read long before the videos show it, and costs two evaluations of the network per clip and
noise level, no sampling.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lavie.config import StageConfig
from lavie.evaluation.report import CHANGE, SuiteRequest, table
from lavie.models import VideoUNet
from lavie.models.latents import encode_video
from lavie.models.text_encoder import TextEncoder
from lavie.pipelines import TextToVideoPipeline
from lavie.pipelines.stage import Stage
from lavie.training.objective import add_noise, target

from .. import COLOURS, DIRECTIONS, SHAPES, Scene, caption, frame_times, render, sample_scene

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

OPPOSITE = {
    "moving left": "moving right",
    "moving right": "moving left",
    "moving up": "moving down",
    "moving down": "moving up",
}
WORDS = ("direction", "colour", "shape")
LEVELS = (300, 500, 700, 900)


def measure_gaps(request: SuiteRequest) -> dict:
    """The gaps of a family's base stage: by word and noise level, and their means."""
    stage = TextToVideoPipeline.from_pretrained(request.model, device=request.device).stage
    gaps = gaps_of_stage(stage, request.clips, request.seed, request.batch)
    request.progress(request.clips)
    return {"clips": request.clips, "gap": gaps}


def gaps_of_stage(stage: Stage, clips: int, seed: int, batch: int = 8) -> dict[str, dict[int | str, float]]:
    """`word_swap_gaps` of a loaded base stage."""
    return word_swap_gaps(stage.unet, stage.text_encoder, stage.vae, stage.config, clips, seed, batch)


def show_gaps(figures: dict) -> str:
    columns = dict.fromkeys([*(f"t={level}" for level in LEVELS), "mean"], CHANGE)
    rows = {word: {_column(level): gap for level, gap in gaps.items()} for word, gaps in figures["gap"].items()}
    return table("word-swap gap", columns, rows)


@torch.no_grad()
def word_swap_gaps(
    unet: VideoUNet,
    text_encoder: TextEncoder,
    vae: AutoencoderKL,
    config: StageConfig,
    clips: int,
    seed: int,
    batch: int = 8,
) -> dict[str, dict[int | str, float]]:
    """Relative growth of the error when a word is swapped, by word, noise level and in the "mean"; 0: it is not read.

    The error is that of the prediction for the same noise, summed over `clips` moving scenes of the training world;
    directions are swapped for their opposites, colours and shapes for others.
    """
    generator = torch.Generator().manual_seed(seed)
    scenes = [sample_scene(generator, motion=DIRECTIONS[index % len(DIRECTIONS)]) for index in range(clips)]
    errors: dict[str, dict[int, float]] = {word: dict.fromkeys(LEVELS, 0.0) for word in ("", *WORDS)}
    device = next(unet.parameters()).device
    for start in range(0, clips, batch):
        some = scenes[start : start + batch]
        video, _ = render(some, frame_times(config.num_frames), config.height, config.width)
        latents = encode_video(vae, video.to(device))
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        for word in errors:
            text = text_encoder.encode([caption(swapped(scene, word)) for scene in some])
            for level in LEVELS:
                timesteps = torch.full((len(some),), level, device=device)
                sample = add_noise(latents, noise, timesteps)
                prediction = unet(sample.to(unet.dtype), timesteps, text.to(device, unet.dtype))
                truth = target(latents, noise, timesteps, config.prediction_type)
                errors[word][level] += _squared(prediction, truth)
    return {word: _gaps(errors[word], errors[""]) for word in WORDS}


def swapped(scene: Scene, word: str) -> Scene:
    """The scene with another direction, colour or shape; with no word the scene itself."""
    if word == "direction":
        return replace(scene, motion=OPPOSITE[scene.motion])
    if word == "colour":
        return replace(scene, colour=_other(COLOURS, scene.colour))
    return replace(scene, shape=_other(SHAPES, scene.shape)) if word == "shape" else scene


def _other(options: tuple[str, ...], name: str) -> str:
    return options[(options.index(name) + len(options) // 2) % len(options)]


def _squared(prediction: Tensor, truth: Tensor) -> float:
    return (prediction.float() - truth).square().sum().item()


def _gaps(wrong: dict[int, float], right: dict[int, float]) -> dict[int | str, float]:
    gaps: dict[int | str, float] = {level: wrong[level] / right[level] - 1 for level in LEVELS}
    return {**gaps, "mean": sum(gaps.values()) / len(gaps)}


def _column(level: int | str) -> str:
    return "mean" if level == "mean" else f"t={level}"
