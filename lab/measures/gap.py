"""The word-swap gap: how much the base loses when a word of the caption is wrong. Shows progress before clips do.

python -m lab.measures.gap FAMILY [--clips 60]
python -m lab evaluate gap --model FAMILY …
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch

from lavie.evaluation.report import CHANGE, SuiteRequest, table
from lavie.models import VideoUNet
from lavie.pipelines import TextToVideoPipeline
from lavie.pipelines.stage import Stage
from lavie.training.objective import add_noise, target

from ..training.latents import encoded
from ..world.captions import caption
from ..world.grammar import CAMERAS, COLOURS, DIRECTIONS, scene_of
from ..world.guests import KINDS
from ..world.palette import TIMES
from ..world.render import frame_seconds, render
from ..world.scene import Scene

LEVELS = (300, 500, 700, 900)
SEED = 77
OPPOSITES = (
    *(("moving left", "moving right"), ("moving up", "moving down")),
    *(("pan left", "pan right"), ("zoom in", "zoom out"), ("tilt up", "tilt down")),
)
OPPOSITE = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}


def _next(options: tuple[str, ...], name: str) -> str:
    return options[(options.index(name) + len(options) // 2) % len(options)]


SWAPS: dict[str, tuple[Callable[[int], dict], Callable[[Scene], Scene]]] = {  # word: scenes that have it, and the swap
    "direction": (
        lambda i: {"motion": DIRECTIONS[i % 4], "camera": "still", "kind": KINDS[i % 5]},
        lambda s: replace(s, guest=replace(s.visitor, motion=OPPOSITE[s.visitor.motion])),
    ),
    "camera": (
        lambda i: {"camera": CAMERAS[1 + i % 6], "kind": None},
        lambda s: replace(s, camera=OPPOSITE[s.camera]),
    ),
    "colour": (
        lambda i: {"kind": KINDS[i % 5]},
        lambda s: replace(s, guest=replace(s.visitor, colour=_next(COLOURS, s.visitor.colour))),
    ),
    "kind": (
        lambda i: {"kind": KINDS[i % 5]},
        lambda s: replace(s, guest=replace(s.visitor, kind=_next(KINDS[:5], s.visitor.kind))),
    ),
    "time": (lambda i: {"weather": "clear"}, lambda s: replace(s, time=_next(TIMES, s.time))),
}


def measure(request: SuiteRequest) -> dict:
    """The gaps of a family's base: by word and noise level, and their means."""
    stage = TextToVideoPipeline.from_pretrained(request.model, device=request.device).stage
    found = gaps(stage, request.clips, request.seed, request.batch)
    request.progress(request.clips)
    means = {word: sum(levels.values()) / len(levels) for word, levels in found.items()}
    return {"clips": request.clips, "gap": {word: {**found[word], "mean": means[word]} for word in found}}


def show(figures: dict) -> str:
    names = {level: f"t={level}" for level in LEVELS} | {"mean": "mean"}
    rows = {word: {names[level]: gap for level, gap in found.items()} for word, found in figures["gap"].items()}
    return table("word-swap gap", dict.fromkeys(names.values(), CHANGE), rows)


@torch.no_grad()
def gaps(stage: Stage, clips: int, seed: int = SEED, batch: int = 10) -> dict[str, dict[int, float]]:
    """Relative growth of the error with the wrong word, by word and noise level; 0: the word is not read."""
    found = {}
    for word, (fixed, swap) in SWAPS.items():
        scenes = []
        for number in range(clips):
            try:
                scenes.append(scene_of(seed, number, **fixed(number)))
            except ValueError:  # such a guest has no place there
                continue
        sums = torch.zeros(2, len(LEVELS))
        for start in range(0, len(scenes), batch):
            sums += _errors(stage, scenes[start : start + batch], swap, seed + start)
        found[word] = dict(zip(LEVELS, (sums[1] / sums[0] - 1).tolist(), strict=True))
    return found


def _errors(stage: Stage, scenes: list[Scene], swap: Callable[[Scene], Scene], seed: int) -> torch.Tensor:
    """Squared errors [right or wrong word, levels] of the prediction for the same noise."""
    video = torch.stack([render(scene, frame_seconds(16)).video for scene in scenes])
    latents = encoded(stage.vae, video.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(scenes), -1)).transpose(1, 2)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    texts = [[caption(scene) for scene in scenes], [caption(swap(scene)) for scene in scenes]]
    rows = []
    for words in texts:
        text = stage.text_encoder.encode(words)
        rows.append([_error(stage.unet, latents, noise, level, text, stage.config.prediction_type) for level in LEVELS])
    return torch.tensor(rows)


def _error(unet: VideoUNet, latents, noise, level: int, text, prediction_type: str) -> float:
    timesteps = torch.full((len(latents),), level)
    with torch.autocast("cpu", torch.bfloat16):
        prediction = unet(add_noise(latents, noise, timesteps), timesteps, text).float()
    return float((prediction - target(latents, noise, timesteps, prediction_type)).square().sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family")
    parser.add_argument("--clips", type=int, default=60)
    args = parser.parse_args()
    print(show(measure(SuiteRequest(args.family, args.clips, SEED))))


if __name__ == "__main__":
    main()
