"""How close upscaled frames are to the true large ones, compared with bicubic enlargement."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch.nn.functional import interpolate

from ..pipelines import UpscalePipeline
from .fidelity import edge_error, flicker, frames_through, psnr, sharpness, squared_error
from .interpolation import wins
from .real_clips import clips_of
from .report import NUMBER, PERCENT, SuiteRequest, mean, table

SCALE = 4
METHODS = ("model", "bicubic", "VAE alone")
COLUMNS = {
    "PSNR": NUMBER,
    "PSNR, subject": NUMBER,
    "sharpness": NUMBER,
    "edge error": NUMBER,
    "flicker": NUMBER,
}


def measure(request: SuiteRequest) -> dict:
    """PSNR in dB, `sharpness`, `edge_error` and `flicker` against the true large frames, of the model and of rivals.

    "wins": the share of clips that the model enlarges with less error.
    """
    clips = clips_of(request)
    pipeline = UpscalePipeline.from_pretrained(request.model, device=request.device)
    base = pipeline.stage.family.base
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for index in range(len(clips)):
        small, clip = clips.reduced(index, base.height, base.width, SCALE)
        made = pipeline(small, clip.caption, seed=request.seed + index, **request.settings).frames
        candidates = (made, bicubic(small), frames_through(pipeline.stage.vae, clip.frames))
        for method, frames in zip(METHODS, candidates, strict=True):
            for name, figure in compared(frames, clip.frames, clip.subject).items():
                errors[method, name].append(figure)
        request.progress(1)
    return {
        "clips": len(clips),
        "frames": len(small),
        "figures": {
            method: {name: _overall(name, errors[method, name]) for name in COLUMNS if errors[method, name]}
            for method in METHODS
        },
        "wins": wins(errors["model", "PSNR"], errors["bicubic", "PSNR"]),
    }


def show(figures: dict) -> str:
    columns = {name: pattern for name, pattern in COLUMNS.items() if name in figures["figures"]["model"]}
    return "\n".join(
        [
            f"×{SCALE} against the true large frames; {figures['clips']} clips of {figures['frames']} frames",
            table("method", columns, figures["figures"]),
            "sharpness: 1 is as sharp as the truth; edge error: 0 is best, 1 has no edges; flicker: of 255, 0 is best",
            f"the model has less error than bicubic in {PERCENT.format(figures['wins'])} of the clips",
        ]
    )


def bicubic(frames: np.ndarray) -> np.ndarray:
    """uint8 [f, h, w, 3] → [f, 4h, 4w, 3]."""
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).float()
    large = interpolate(images, scale_factor=SCALE, mode="bicubic", align_corners=False)
    return large.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def compared(frames: np.ndarray, truth: np.ndarray, subject: np.ndarray | None) -> dict[str, float]:
    """Figures of one clip; those of `psnr` still as mean squared errors."""
    of_subject = {} if subject is None else {"PSNR, subject": squared_error(frames, truth, subject)}
    return {
        "PSNR": squared_error(frames, truth),
        **of_subject,
        "sharpness": sharpness(frames, truth),
        "edge error": edge_error(frames, truth),
        "flicker": flicker(frames, truth),
    }


def _overall(name: str, values: list[float]) -> float:
    return psnr(mean(values)) if name.startswith("PSNR") else mean(values)
