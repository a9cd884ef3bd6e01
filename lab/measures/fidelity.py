"""Does a family's base show what the prompt says? Clips for held-out prompts, read by the judge.

python -m lab.measures.fidelity FAMILY [--clips 400] [--stills] [--sheet FILE.png]
python -m lab evaluate fidelity --model FAMILY …
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from lavie.evaluation.report import SuiteRequest

from ..judge.accuracy import right, shares
from ..judge.judge import read
from ..world.render import frame_seconds
from ..world.scene import Scene
from .held_out import filmed
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


def measure(request: SuiteRequest) -> dict:
    """Shares read right in clips for held-out prompts: "made", and "rendered", the judge's own. The option "stills"
    takes images instead.

    The option "sheet" names the file of a sheet of the first ones, unpicked.
    """
    stills, file = request.options.get("stills", False), request.options.get("sheet")
    frames, scenes = 1 if stills else 16, held_out_scenes(request.clips, request.seed)
    rows, clips = [], []
    for scene, clip in sampled(request, scenes, frames):
        rows.append(judged(scene, clip))
        clips += [clip] if len(clips) < SHEET else []
    if file:
        sheet(clips, columns=4 if stills else 2).save(file)
    rendered = shares(judged(scene, filmed(scene, frame_seconds(frames))) for scene in scenes)
    return {"clips": request.clips, "stills": stills, "made": shares(rows), "rendered": rendered}


def show(figures: dict) -> str:
    what = "images" if figures["stills"] else "clips"
    return f"{figures['clips']} held-out {what}\n{table(figures['made'], figures['rendered'])}"


def judged(scene: Scene, clip) -> dict[str, bool | float]:
    """`right` of a clip; a still is read as a clip without motion."""
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
    options, settings = {"stills": args.stills, "sheet": args.sheet}, {"num_inference_steps": args.steps}
    request = SuiteRequest(args.family, args.clips, args.seed, args.batch, options=options, settings=settings)
    figures = measure(request)
    print(show(figures))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
