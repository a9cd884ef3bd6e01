"""Does a family's base do what the prompt says? Held-out prompts, read by the judge, its own accuracy beside it.

python -m lab.measures.fidelity FAMILY [--clips 400] [--stills] [--sheet FILE.png]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from lavie.models.latents import to_uint8

from ..judge.accuracy import right, shares
from ..judge.judge import read
from ..world.render import frame_seconds, render
from ..world.scene import Scene
from .samples import SEED, held_out_scenes, sampled
from .sheet import sheet

BARS = {
    "place": 0.97,
    "time": 0.99,
    "weather": 0.93,
    "camera": 0.95,
    "guests": 0.97,
    "kind": 0.95,
    "colour": 0.97,
    "direction": 0.97,
    "motion": None,
    "steady": 0.97,
    "overlap": 0.88,
    "fall": 0.03,
    "flicker": 1.3,  # times that of rendered clips
}
IN_A_STILL = ("place", "time", "weather", "guests", "kind", "colour", "overlap")
SHEET = 32


def rendered_clip(scene: Scene, frames: int):
    return to_uint8(render(scene, frame_seconds(frames)).video).permute(1, 2, 3, 0).numpy()


def judged(scene: Scene, clip) -> dict[str, bool | float]:
    """`right` of a clip; a still is read as a clip that stands."""
    found = right(scene, read(clip if len(clip) > 1 else clip.repeat(4, axis=0)))
    return found if len(clip) > 1 else {name: value for name, value in found.items() if name in IN_A_STILL}


def table(made: dict[str, float], rendered: dict[str, float]) -> str:
    lines = [f"{'':10} {'made':>8} {'bar':>8} {'the judge on rendered clips':>28}"]
    if "flicker" in made:
        made, rendered = {**made, "flicker": made["flicker"] / rendered["flicker"]}, {**rendered, "flicker": 1.0}
    for name in [name for name in BARS if name in made]:
        bar = "–" if BARS[name] is None else f"{100 * BARS[name]:.1f} %"
        lines.append(f"{name:10} {100 * made[name]:6.1f} % {bar:>8} {100 * rendered[name]:26.1f} %")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family")
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--stills", action="store_true", help="single images, a quick look at a base in training")
    parser.add_argument("--steps", type=int, help="of sampling (default: the family's)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--sheet", type=Path, help="of the first clips, unpicked")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    frames, scenes = 1 if args.stills else 16, held_out_scenes(args.clips, args.seed)
    rows, clips = [], []
    for scene, clip in sampled(args.family, scenes, frames, args.batch, args.seed, num_inference_steps=args.steps):
        rows.append(judged(scene, clip))
        clips += [clip] if len(clips) < SHEET else []
    made, rendered = shares(rows), shares(judged(scene, rendered_clip(scene, frames)) for scene in scenes)
    print(f"{args.clips} held-out {'images' if args.stills else 'clips'}, seed {args.seed}\n{table(made, rendered)}")
    if args.sheet:
        sheet(clips, columns=4 if args.stills else 2).save(args.sheet)
    if args.json:
        args.json.write_text(json.dumps({"made": made, "rendered": rendered}, indent=1))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
