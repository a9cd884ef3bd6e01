"""How near interpolated frames are to the renderer's true ones, beside plain blending of the key frames."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from ..pipelines import InterpolationPipeline
from ..pipelines.interpolate import FACTOR
from ..training.synthetic import MOTIONS, Scene, caption, frame_times
from .fidelity import psnr, squared_error
from .report import NUMBER, PERCENT, Request, table
from .round_trip import frames_through
from .synthetic import held_out_scenes, mean, rendered_with_sprite

NUM_FRAMES = 61
METHODS = ("model", "blending", "blending after the VAE", "VAE alone")
PLACES = ("all frames", "in between", "in between, where it moves")


def measure(request: Request) -> dict:
    """PSNR against the true frames of the model, of blending, and of the true frames through the VAE, in dB.

    "blending after the VAE" blends key frames that went through the VAE, as the model's have. "wins": the share of
    clips whose frames in between the model makes with less error.
    """
    pipeline = InterpolationPipeline.from_pretrained(request.model, device=request.device)
    base = pipeline.stage.family.base
    scenes = held_out_scenes(request.clips, request.seed)
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        truth, sprite = rendered_with_sprite(scene, frame_times(NUM_FRAMES), base.height, base.width)
        video = pipeline(truth[::FACTOR], caption(scene), seed=request.seed + index, **request.settings)
        through_vae = frames_through(pipeline.stage.vae, truth)
        candidates = (video.frames, blend(truth[::FACTOR]), blend(through_vae[::FACTOR]), through_vae)
        for method, frames in zip(METHODS, candidates, strict=True):
            for place, error in errors_by_place(frames, truth, sprite).items():
                errors[method, place].append(error)
        request.progress(1)
    return {
        "clips": len(scenes),
        "psnr": {method: {place: psnr(mean(errors[method, place])) for place in PLACES} for method in METHODS},
        "wins": {rival: wins(errors["model", PLACES[1]], errors[rival, PLACES[1]]) for rival in METHODS[1:3]},
        "by_motion": {
            motion: {method: psnr(mean(_of(motion, scenes, errors[method, PLACES[1]]))) for method in METHODS}
            for motion in MOTIONS
            if motion in {scene.motion for scene in scenes}
        },
    }


def show(figures: dict) -> str:
    wins = ", ".join(f"{rival} in {PERCENT.format(share)}" for rival, share in figures["wins"].items())
    return "\n".join(
        [
            f"PSNR (dB) against the true {NUM_FRAMES} frames; {figures['clips']} held-out clips",
            table("method", dict.fromkeys(PLACES, NUMBER), figures["psnr"]),
            f"in between, the model has less error than {wins} of the clips",
            table("in between, by motion", dict.fromkeys(METHODS, NUMBER), figures["by_motion"]),
        ]
    )


def blend(keys: np.ndarray) -> np.ndarray:
    """Key frames, uint8 [F, h, w, 3], and what fades linearly from each to the next: uint8 [4F − 3, h, w, 3]."""
    position = np.arange(FACTOR * (len(keys) - 1) + 1) / FACTOR
    before = np.minimum(position.astype(int), len(keys) - 2)
    share = (position - before).astype(np.float32)[:, None, None, None]
    faded = keys[before] * (1 - share) + keys[before + 1] * share
    return np.rint(faded).astype(np.uint8)


def errors_by_place(frames: np.ndarray, truth: np.ndarray, sprite: np.ndarray) -> dict[str, float]:
    """Mean squared errors; key frames are every fourth."""
    between = np.arange(len(truth)) % FACTOR != 0
    return {
        PLACES[0]: squared_error(frames, truth),
        PLACES[1]: squared_error(frames[between], truth[between]),
        PLACES[2]: squared_error(frames[between], truth[between], swept(sprite)[between]),
    }


def swept(sprite: np.ndarray) -> np.ndarray:
    """Where the sprite is now, or at the key frame before or after: [f, h, w] in 0…1, as its coverage."""
    before = np.arange(len(sprite)) // FACTOR * FACTOR
    after = np.minimum(before + FACTOR, len(sprite) - 1)
    return np.maximum(sprite, np.maximum(sprite[before], sprite[after]))


def wins(errors: list[float], rivals: list[float]) -> float:
    return mean([error < rival for error, rival in zip(errors, rivals, strict=True)])


def _of(motion: str, scenes: list[Scene], errors: list[float]) -> list[float]:
    return [error for scene, error in zip(scenes, errors, strict=True) if scene.motion == motion]
