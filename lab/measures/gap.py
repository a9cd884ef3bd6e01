"""The word-swap gap: how much the base loses when a word of the caption is wrong; it tells long before the clips do.

python -m lab.measures.gap FAMILY [--clips 60]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch

from lavie.models import VideoUNet
from lavie.pipelines import TextToVideoPipeline
from lavie.training.objective import add_noise, target

from ..training.latents import encoded
from ..world.captions import caption
from ..world.grammar import CAMERAS, COLOURS, DIRECTIONS, scene_of
from ..world.guests import KINDS
from ..world.palette import TIMES
from ..world.render import frame_seconds, render
from ..world.scene import Scene

LEVELS = (300, 500, 700, 900)
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


@torch.no_grad()
def gaps(family: str, clips: int, seed: int = 77, batch: int = 10) -> dict[str, dict[int, float]]:
    """Relative growth of the error with the wrong word, by word and noise level; 0: the word is not read."""
    stage = TextToVideoPipeline.from_pretrained(family).stage
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


def _errors(stage, scenes: list[Scene], swap: Callable[[Scene], Scene], seed: int) -> torch.Tensor:
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
    print(f"{'word-swap gap':14}" + "".join(f"{f't={level}':>9}" for level in LEVELS) + f"{'mean':>9}")
    for word, found in gaps(args.family, args.clips).items():
        values = [*found.values(), sum(found.values()) / len(found)]
        print(f"{word:14}" + "".join(f"{100 * value:8.1f}%" for value in values), flush=True)


if __name__ == "__main__":
    main()
