"""The cascade of a family on the CPU in bfloat16 against float32: seconds of each stage, and how near the frames are.

    python benchmarks/cpu_precision.py [--model lavie-tiny] [--prompts 4] [--threads N] [--json FILE]

Both precisions take turns, stage by stage, on the same input: the float32 frames of the stage before. Seconds are the
processor's, over all threads, so that other work beside it hardly counts. PSNR is that of the worst and of the middle
prompt against float32.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import machine, save
from lavie.pipelines import InterpolationPipeline, TextToVideoPipeline, UpscalePipeline

PROMPTS = (
    "a red balloon moving right over a meadow at noon, clouds drifting",
    "a city skyline at night, snow falling, panning left",
    "a purple sailboat moving left on a mountain lake at sunset",
    "aurora over mountains at night",
    "dunes at dawn, zooming in",
    "a green kite hovering over a canyon at noon",
)
STAGES = {"base": TextToVideoPipeline, "interpolation": InterpolationPipeline, "upscaler": UpscalePipeline}
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lavie-tiny")
    parser.add_argument("--prompts", type=int, default=4, help="how many, at most 6")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    prompts = PROMPTS[: args.prompts]
    results = {"machine": machine(torch.device("cpu")), "model": args.model, "stages": {}}
    print(results["machine"])
    inputs: Sequence[np.ndarray | None] = [None] * len(prompts)
    for name, pipeline in STAGES.items():
        made = {each: run(pipeline, each, args.model, prompts, inputs) for each in PRECISIONS}
        exact, near = made.values()
        found = {
            "float32": statistics.median(seconds for seconds, _ in exact),
            "bfloat16": statistics.median(seconds for seconds, _ in near),
            "psnr": sorted(psnr(one[1], other[1]) for one, other in zip(exact, near, strict=True)),
        }
        inputs = [frames for _, frames in exact]
        results["stages"][name] = found
        middle, worst, times = statistics.median(found["psnr"]), found["psnr"][0], found["float32"] / found["bfloat16"]
        seconds = f"{found['float32']:6.2f} s → {found['bfloat16']:6.2f} s, ×{times:.2f}"
        print(f"{name:14} {seconds}; {middle:.1f} dB, worst {worst:.1f} dB", flush=True)
        save(results, args.json)


def run(
    kind: type, dtype: str, model: str, prompts: tuple[str, ...], inputs: Sequence[np.ndarray | None]
) -> list[tuple[float, np.ndarray]]:
    """Seconds and frames for each prompt, after one run that does not count."""
    pipeline = kind.from_pretrained(model, device="cpu", dtype=dtype)

    def make(prompt: str, frames: np.ndarray | None) -> np.ndarray:
        return (pipeline(prompt) if frames is None else pipeline(frames, prompt)).frames

    make(prompts[0], None if inputs[0] is None else inputs[0][:4])
    found = []
    for prompt, frames in zip(prompts, inputs, strict=True):
        start = time.process_time()
        video = make(prompt, frames)
        found.append((time.process_time() - start, video))
    return found


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    """The PSNR of uint8 frames, in dB."""
    return float(10 * np.log10(255**2 / np.square(first.astype(float) - second).mean()))


if __name__ == "__main__":
    main()
