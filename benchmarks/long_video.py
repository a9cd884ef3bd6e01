"""Seconds per frame and peak memory of every way to a long video, by its length, each in a process of its own.

python benchmarks/long_video.py [--frames 32 64 128] [--steps 4] [--size 32x48]

In brackets: against independent clips of the same length. FIFO-Diffusion's queue is one window long.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lavie.flags import size  # noqa: E402
from lavie.long_video import METHODS  # noqa: E402

PROMPT = "a red ball bouncing over green grass"
RIVAL = "independent"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[32, 64, 128])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--size", type=size, default=(32, 48))
    parser.add_argument("--one", choices=tuple(METHODS), help="this method and the first length alone: seconds and MB")
    args = parser.parse_args()
    if args.one:
        print(*measure(args.one, args.frames[0], args.steps, *args.size))
        return
    print(f"{'method':<14}" + "".join(f"{f'{frames} frames: s/frame':>24}{'peak MB':>16}" for frames in args.frames))
    rival = {}
    for method in (RIVAL, *(each for each in METHODS if each != RIVAL)):
        cells = ""
        for frames in args.frames:
            seconds, megabytes = in_a_process(method, frames, args)
            first = rival.setdefault(frames, (seconds, megabytes))
            cells += f"{f'{seconds / frames:.3f} ({seconds / first[0]:.2f})':>24}"
            cells += f"{f'{megabytes:.0f} ({megabytes / first[1]:.2f})':>16}"
        print(f"{method:<14}{cells}", flush=True)


def in_a_process(method: str, frames: int, args: argparse.Namespace) -> tuple[float, float]:
    command = [sys.executable, __file__, "--one", method, "--frames", str(frames), "--steps", str(args.steps)]
    command += ["--size", "x".join(map(str, args.size))]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(answer[0]), float(answer[1])


def measure(method: str, frames: int, steps: int, height: int, width: int) -> tuple[float, float]:
    """Seconds of wall time after loading, and megabytes of peak memory of this process."""
    from lavie import LongVideoPipeline

    pipeline = LongVideoPipeline.from_pretrained("lavie-tiny", device="cpu")
    settings = {"partitions": 1} if method == "fifo" else {}
    pipeline(PROMPT, 17, method=method, height=height, width=width, num_inference_steps=1, **settings)  # warm
    start = time.perf_counter()
    pipeline(PROMPT, frames, method=method, height=height, width=width, num_inference_steps=steps, **settings)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
