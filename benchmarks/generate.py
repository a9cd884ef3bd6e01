"""Seconds and memory of `lavie generate` with the bundled family, each case in a process of its own.

python benchmarks/generate.py [--runs 3]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a red ball moving left over green grass"
CASES = {
    "base alone": ["--no-interpolate", "--no-upscale"],
    "base and interpolation": ["--no-upscale"],
    "whole cascade": [],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    print(f"{'case':<26}{'seconds (median)':>18}{'spread':>16}{'peak GB':>10}")
    for name, options in CASES.items():
        times, memory = zip(*(measure(options) for _ in range(runs)), strict=True)
        spread = f"{min(times):.1f}-{max(times):.1f}"
        print(f"{name:<26}{statistics.median(times):>18.1f}{spread:>16}{max(memory):>10.2f}")


def measure(options: list[str]) -> tuple[float, float]:
    """Seconds of wall time and gigabytes of peak memory of one process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "lavie", "generate", PROMPT, "-o", f"{folder}/clip.mp4", "--quiet", *options]
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{command} failed")
        return time.perf_counter() - start, usage.ru_maxrss / 1e6


if __name__ == "__main__":
    main()
