"""How near upscaled frames are to the renderer's true large ones, beside bicubic enlargement."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch.nn.functional import interpolate

from ..pipelines import UpscalePipeline
from ..training.synthetic import caption, frame_times
from .fidelity import edge_error, flicker, psnr, sharpness, squared_error
from .interpolation import wins
from .report import NUMBER, PERCENT, Request, table
from .round_trip import frames_through
from .synthetic import held_out_scenes, mean, rendered, rendered_with_sprite

SCALE = 4
FRAMES = frame_times(61)[26:34]  # as the interpolation stage hands them over, from the middle of a clip
METHODS = ("model", "bicubic", "VAE alone")
COLUMNS = {
    "PSNR": NUMBER,
    "PSNR, sprite": NUMBER,
    "sharpness": NUMBER,
    "edge error": NUMBER,
    "flicker": NUMBER,
}


def measure(request: Request) -> dict:
    """PSNR in dB, `sharpness`, `edge_error` and `flicker` against the true large frames, of the model and of rivals.

    "wins": the share of clips that the model enlarges with less error.
    """
    pipeline = UpscalePipeline.from_pretrained(request.model, device=request.device)
    base = pipeline.stage.family.base
    large = (SCALE * base.height, SCALE * base.width)
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for index, scene in enumerate(held_out_scenes(request.clips, request.seed)):
        small = rendered(scene, FRAMES, base.height, base.width)
        truth, sprite = rendered_with_sprite(scene, FRAMES, *large)
        made = pipeline(small, caption(scene), seed=request.seed + index, **request.settings).frames
        candidates = (made, bicubic(small), frames_through(pipeline.stage.vae, truth))
        for method, frames in zip(METHODS, candidates, strict=True):
            for name, figure in compared(frames, truth, sprite).items():
                errors[method, name].append(figure)
        request.progress(1)
    return {
        "clips": request.clips,
        "figures": {method: {name: _overall(name, errors[method, name]) for name in COLUMNS} for method in METHODS},
        "wins": wins(errors["model", "PSNR"], errors["bicubic", "PSNR"]),
    }


def show(figures: dict) -> str:
    return "\n".join(
        [
            f"×{SCALE} against the true large frames; {figures['clips']} held-out clips of {len(FRAMES)} frames",
            table("method", COLUMNS, figures["figures"]),
            "sharpness: 1 is as sharp as the truth; edge error: 0 is best, 1 has no edges; flicker: of 255, 0 is best",
            f"the model has less error than bicubic in {PERCENT.format(figures['wins'])} of the clips",
        ]
    )


def bicubic(frames: np.ndarray) -> np.ndarray:
    """uint8 [f, h, w, 3] → [f, 4h, 4w, 3]."""
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    large = interpolate(pictures, scale_factor=SCALE, mode="bicubic", align_corners=False)
    return large.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def compared(frames: np.ndarray, truth: np.ndarray, sprite: np.ndarray) -> dict[str, float]:
    """Figures of one clip; those of `psnr` still as mean squared errors."""
    return {
        "PSNR": squared_error(frames, truth),
        "PSNR, sprite": squared_error(frames, truth, sprite),
        "sharpness": sharpness(frames, truth),
        "edge error": edge_error(frames, truth),
        "flicker": flicker(frames, truth),
    }


def _overall(name: str, values: list[float]) -> float:
    return psnr(mean(values)) if name.startswith("PSNR") else mean(values)
