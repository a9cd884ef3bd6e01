"""One forward of the full-size base UNet with random weights, float32 on the CPU, beside the official code's time.

    python benchmarks/unet_forward.py [--threads 2] [--runs 3]

The official figure (no xformers, same shape 1×4×16×40×64, 2 threads of an AMD EPYC): 66.5 s, 11.4 GB.
"""

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lavie.models import UNetConfig, build_unet

OFFICIAL_SECONDS, OFFICIAL_GIGABYTES = 66.5, 11.4
TERA_FLOP = 8.11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    unet = build_unet(UNetConfig()).eval()
    sample, text = torch.randn(1, 4, 16, 40, 64), torch.randn(1, 77, 768)
    matrix = torch.randn(2048, 2048)
    seconds, rates = [], []
    with torch.no_grad():
        for _ in range(args.runs):
            rates.append(2 * 2048**3 / clock(lambda: matrix @ matrix) / 1e12)
            seconds.append(clock(lambda: unet(sample, 500, text)))
    best, rate = statistics.median(seconds), statistics.median(rates)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"seconds per forward      {best:8.1f}   (each: {', '.join(f'{s:.1f}' for s in seconds)})")
    print(f"official / ours          {OFFICIAL_SECONDS / best:8.2f}x  (official {OFFICIAL_SECONDS} s)")
    print(f"of the matrix product    {TERA_FLOP / best / rate:8.0%}   ({rate * 1e3:.0f} GFLOP/s)")
    print(f"peak memory, GB          {memory:8.1f}   (official {OFFICIAL_GIGABYTES} GB)")


def clock(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
