"""A frame through the decoder of the upscaler's VAE at full size with random weights: whole, with fewer keys, in tiles.

    python benchmarks/decode.py [--device auto|cpu|cuda] [--runs 3] [--json FILE]

1280×2048 on a GPU, a quarter of that picture on the CPU; float32, as decoding is. The cases take turns in one process.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import flops, machine, save, spread, take_turns
from benchmarks.memory import VAES, filled, new_vae
from lavie.models.latents import decode_latents
from lavie.models.vae_attention import pooled_keys
from lavie.runtime import choose_device
from lavie.speed import SPEEDS

TILES = (128, 64)
KEYS = SPEEDS["balanced"]["upscaler"].vae_keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    device = choose_device(args.device)
    height, width = (160, 256) if device.type == "cpu" else (320, 512)
    vae = filled(new_vae(VAES["f4"]), args.device if args.device != "auto" else device.type)
    if device.type != "cpu":
        vae.to(memory_format=torch.channels_last)  # as `load_vae` does
    latents = torch.randn(1, 4, 1, height, width, device=device)

    def pooled():
        with pooled_keys(vae, KEYS):
            return decode_latents(vae, latents)

    cases = {"whole": lambda: decode_latents(vae, latents), f"at most {KEYS} keys": pooled}
    for tile in TILES:
        cases[f"tiles of {tile}"] = lambda tile=tile: decode_latents(vae, latents, tile=tile)
    work = {name: flops(case) for name, case in cases.items()}
    found = take_turns(cases, args.runs, device)
    print(machine(device), [4 * height, 4 * width])
    print(f"{'':22s}{'TFLOP':>8}{'seconds':>9}{'over whole':>26}{'peak GB':>9}")
    for name, case in found.items():
        ratios = [other / whole for other, whole in zip(case["seconds"], found["whole"]["seconds"], strict=True)]
        case |= {"flops": work[name], "over whole": ratios}
        print(
            f"{name:22s}{work[name] / 1e12:8.2f}{case['median']:9.2f}{spread(ratios):>26}{case['peak'] / 1e9:9.2f}",
            flush=True,
        )
    save({"machine": machine(device), "latents": [height, width], "cases": found}, args.json)


if __name__ == "__main__":
    main()
