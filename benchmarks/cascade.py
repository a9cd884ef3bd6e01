"""A video by the whole cascade at full size with random weights, stage by stage, at every speed.

    python benchmarks/cascade.py [--device auto|cpu|cuda] [--speed exact balanced fast] [--compile] [--json FILE]
        [--stage base interpolation upscaler] [--model lavie|lavie-tiny]

16 frames of 320×512 become 61 of 1280×2048, in float16 on a GPU. Seconds with text encoder and VAE, without loading;
one step of a few frames goes before and does not count. lavie-tiny is a check of the same on the CPU.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import clock, machine, peak, save, start_of_peak
from benchmarks.memory import INPUT, PIPELINES, TINY_INPUT, new_stage
from lavie.runtime import choose_device
from lavie.runtime.compile import compile_blocks
from lavie.speed import SPEEDS
from lavie.stages import CASCADE

PROMPT, FEW = "a red ball moving left over green grass", 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--model", choices=("lavie", "lavie-tiny"), default="lavie")
    parser.add_argument("--stage", nargs="+", choices=CASCADE, default=list(CASCADE))
    parser.add_argument("--speed", nargs="+", choices=SPEEDS, default=list(SPEEDS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    device = choose_device(args.device)
    results = {"machine": machine(device), "model": args.model, "compiled": args.compile, "stages": {}}
    print(results["machine"])
    for stage in args.stage:
        results["stages"][stage] = measure(stage, device, args)
        save(results, args.json)
    for speed in args.speed:
        total = sum(stage[speed]["seconds"] for stage in results["stages"].values())
        print(f"{speed:10s} {', '.join(args.stage)}: {total:.1f} s")


def measure(name: str, device: torch.device, args: argparse.Namespace) -> dict[str, dict]:
    """Print and return one stage's figures, by speed."""
    pipeline = PIPELINES[name](new_stage(name, args.model, device))
    if device.type != "cpu":
        pipeline.stage.vae.to(memory_format=torch.channels_last)  # as `load_vae` does
    if args.compile:
        compile_blocks(pipeline.stage.unet)
    shape = (INPUT if args.model == "lavie" else TINY_INPUT)[name]
    frames = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    def make(**options):
        if name == "base":
            return pipeline(PROMPT, **options)
        given = frames[:FEW] if name == "upscaler" and "num_inference_steps" in options else frames
        return pipeline(given, PROMPT, **options)

    found = {}
    for speed in args.speed:
        make(speed=speed, num_inference_steps=1)
        before = start_of_peak(device)
        made = []
        seconds = clock(lambda speed=speed, made=made: made.append(make(speed=speed)), device)
        found[speed] = {"seconds": seconds, "peak": peak(device) - before, "made": list(made[0].frames.shape)}
        print(
            f"{name:15s} {speed:10s} {seconds:8.1f} s {found[speed]['peak'] / 1e9:7.2f} GB  {found[speed]['made']}",
            flush=True,
        )
    return found


if __name__ == "__main__":
    main()
