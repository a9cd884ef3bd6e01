"""How close interpolated frames are to the true ones, compared with plain blending of the key frames."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from ..pipelines import InterpolationPipeline
from ..pipelines.interpolate import FACTOR
from .fidelity import frames_through, psnr, squared_error
from .real_clips import clips_of
from .report import NUMBER, PERCENT, SuiteRequest, mean, table

NUM_FRAMES = 61
METHODS = ("model", "blending", "blending after the VAE", "VAE alone")
PLACES = ("all frames", "in between", "in between, where it moves")


def measure(request: SuiteRequest) -> dict:
    """PSNR against the true frames of the model, of blending, and of the true frames through the VAE, in dB.

    "blending after the VAE" blends key frames that went through the VAE, as the model's have. "wins": the share of
    clips whose frames in between the model makes with less error. "by_kind": where the clips are of several.
    """
    clips = clips_of(request)
    pipeline = InterpolationPipeline.from_pretrained(request.model, device=request.device)
    base = pipeline.stage.family.base
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    by_kind: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for index in range(len(clips)):
        clip = clips.clip(index, NUM_FRAMES, base.height, base.width)
        truth = clip.frames
        video = pipeline(truth[::FACTOR], clip.caption, seed=request.seed + index, **request.settings)
        through_vae = frames_through(pipeline.stage.vae, truth)
        candidates = (video.frames, blend(truth[::FACTOR]), blend(through_vae[::FACTOR]), through_vae)
        for method, frames in zip(METHODS, candidates, strict=True):
            found = errors_by_place(frames, truth, clip.subject)
            for place, error in found.items():
                errors[method, place].append(error)
            by_kind[clip.kind][method].append(found[PLACES[1]])
        request.progress(1)
    return {
        "clips": len(clips),
        "psnr": {
            method: {place: psnr(mean(errors[method, place])) for place in PLACES if errors[method, place]}
            for method in METHODS
        },
        "wins": {rival: wins(errors["model", PLACES[1]], errors[rival, PLACES[1]]) for rival in METHODS[1:3]},
        "by_kind": {
            kind: {method: psnr(mean(found[method])) for method in METHODS}
            for kind, found in sorted(by_kind.items())
            if kind
        },
    }


def show(figures: dict) -> str:
    wins = ", ".join(f"{rival} in {PERCENT.format(share)}" for rival, share in figures["wins"].items())
    places = [place for place in PLACES if place in figures["psnr"]["model"]]
    lines = [
        f"PSNR (dB) against the true {NUM_FRAMES} frames; {figures['clips']} clips",
        table("method", dict.fromkeys(places, NUMBER), figures["psnr"]),
        f"in between, the model has less error than {wins} of the clips",
    ]
    if figures["by_kind"]:
        lines.append(table("in between, by kind", dict.fromkeys(METHODS, NUMBER), figures["by_kind"]))
    return "\n".join(lines)


def blend(keys: np.ndarray) -> np.ndarray:
    """Key frames, uint8 [F, h, w, 3], and what fades linearly from each to the next: uint8 [4F − 3, h, w, 3]."""
    position = np.arange(FACTOR * (len(keys) - 1) + 1) / FACTOR
    before = np.minimum(position.astype(int), len(keys) - 2)
    share = (position - before).astype(np.float32)[:, None, None, None]
    faded = keys[before] * (1 - share) + keys[before + 1] * share
    return np.rint(faded).astype(np.uint8)


def errors_by_place(frames: np.ndarray, truth: np.ndarray, subject: np.ndarray | None) -> dict[str, float]:
    """Mean squared errors; key frames are every fourth. The last place is there where the subject's is known."""
    between = np.arange(len(truth)) % FACTOR != 0
    errors = {PLACES[0]: squared_error(frames, truth), PLACES[1]: squared_error(frames[between], truth[between])}
    if subject is not None:
        errors[PLACES[2]] = squared_error(frames[between], truth[between], swept(subject)[between])
    return errors


def swept(subject: np.ndarray) -> np.ndarray:
    """Where the subject is now, or at the key frame before or after: [f, h, w] in 0…1, as its coverage."""
    before = np.arange(len(subject)) // FACTOR * FACTOR
    after = np.minimum(before + FACTOR, len(subject) - 1)
    return np.maximum(subject, np.maximum(subject[before], subject[after]))


def wins(errors: list[float], rivals: list[float]) -> float:
    return mean([error < rival for error, rival in zip(errors, rivals, strict=True)])
