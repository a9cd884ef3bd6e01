"""A frame through the decoder of the upscaler's VAE at full size with random weights: whole, with fewer keys, in tiles.

    python benchmarks/decode.py [--device auto|cpu|cuda] [--runs 3] [--json FILE]
    python benchmarks/decode.py --quality     what the same does to images of 1024×1536, by lavie-tiny's VAE

1280×2048 on a GPU, a quarter of that image on the CPU; float32, as decoding is. The cases take turns in one process.
"""

import argparse
import statistics
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import flops, machine, save, spread, take_turns
from benchmarks.memory import VAES, filled, new_vae
from lab.sprites import frame_times
from lab.sprites.held_out import held_out_scenes, rendered
from lavie.config import find_family
from lavie.evaluation.fidelity import psnr, squared_error
from lavie.models.latents import decode_latents, encode_video, to_uint8
from lavie.models.vae import load_vae
from lavie.models.vae_attention import pooled_keys
from lavie.runtime import choose_device
from lavie.speed import SPEEDS

TILES = (128, 64)
KEYS = SPEEDS["balanced"]["upscaler"].vae_keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    if args.quality:
        show_quality()
        return
    device = choose_device(args.device)
    height, width = (160, 256) if device.type == "cpu" else (320, 512)
    vae = filled(new_vae(VAES["f4"]), device.type)
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


def show_quality(height: int = 1024, width: int = 1536, images: int = 3) -> None:
    """PSNR of decoded images against decoding them whole, and against the originals."""
    vae = load_vae(find_family("lavie-tiny").path("vae"))
    pixels = height * width // 64
    cases = {"whole": {}}
    cases |= {f"1 key for {side}×{side}": {"keys": pixels // side**2} for side in (2, 4, 8)}
    cases |= {f"tiles of {tile}": {"tile": tile} for tile in (64, 32)}
    errors = {name: [] for name in cases}
    for scene in held_out_scenes(images, 1000):
        given = rendered(scene, frame_times(1), height, width)
        latents = encode_video(vae, torch.from_numpy(given).permute(3, 0, 1, 2)[None].float() / 127.5 - 1)
        made = {}
        for name, case in cases.items():
            with pooled_keys(vae, case.get("keys", 0)):
                video = decode_latents(vae, latents, tile=case.get("tile"))
            made[name] = to_uint8(video)[0].permute(1, 2, 3, 0).numpy()
            errors[name].append([squared_error(made[name], other) for other in (made["whole"], given)])
    print(f"{images} images of {height}×{width}: PSNR against whole, against what was encoded")
    for name, pairs in errors.items():
        print(f"{name:22s}" + "".join(f"{psnr(statistics.mean(error)):9.1f}" for error in zip(*pairs, strict=True)))


if __name__ == "__main__":
    main()
