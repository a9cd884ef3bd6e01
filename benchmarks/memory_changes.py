"""What a memory limit changes in the image: windows, tiles and VAE tiles against the same video made without them.

    python benchmarks/memory_changes.py [--model lavie-tiny] [--steps 10] [--seeds 2]

Prints PSNR in dB, each case over all seeds, for the table `CHANGES` in lavie/runtime/changes.py. On the CPU, float32.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lavie import InterpolationPipeline, TextToVideoPipeline, UpscalePipeline
from lavie.evaluation.fidelity import psnr, squared_error
from lavie.models.latents import decode_latents, encode_video, to_uint8
from lavie.pipelines.stage import to_video

PROMPT = "a red ball moving left over green grass"
WINDOWS = {"interpolation": (8, 4, 2), "upscaler": (8, 4, 2)}  # of 16 frames; half as many are shared, as in a plan
TILES = (48, 32)  # pixels of the upscaler's input of 96
VAE_SIDES = ((32, (512, 512)), (64, (1024, 1024)))  # tile in latent pixels, image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lavie-tiny")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    args = parser.parse_args()
    base = TextToVideoPipeline.from_pretrained(args.model, "cpu")
    clips = [base(PROMPT, seed, num_inference_steps=args.steps).frames for seed in range(args.seeds)]
    for name, error in chain(vae_cases(base, clips), stage_cases(args, clips)):
        print(f"{name:48s} {psnr(error):5.1f} dB", flush=True)


def stage_cases(args: argparse.Namespace, clips: list[np.ndarray]) -> Iterator[tuple[str, float]]:
    for kind in (InterpolationPipeline, UpscalePipeline):
        stage = kind.stage_name
        pipeline = kind.from_pretrained(args.model, "cpu")

        def made(clip: np.ndarray, seed: int, pipeline=pipeline, **changes: int) -> np.ndarray:
            return pipeline(clip, PROMPT, seed=seed, num_inference_steps=args.steps, **changes).frames

        whole = [made(clip, seed) for seed, clip in enumerate(clips)]
        cases = [{"window": window, "overlap": max(1, window // 4)} for window in WINDOWS[stage]]
        cases += [{"tile": tile, "tile_overlap": tile // 4} for tile in TILES if stage == "upscaler"]
        for case in cases:
            errors = [squared_error(made(clip, seed, **case), whole[seed]) for seed, clip in enumerate(clips)]
            yield f"{stage} {case}", float(np.mean(errors))


def vae_cases(base: TextToVideoPipeline, clips: list[np.ndarray]) -> Iterator[tuple[str, float]]:
    """A frame of each clip, enlarged, through the VAE whole and in tiles."""
    for tile, (height, width) in VAE_SIDES:
        errors = []
        for clip in clips:
            frame = clip[:1].repeat(-(-height // clip.shape[1]), 1).repeat(-(-width // clip.shape[2]), 2)
            latents = encode_video(base.stage.vae, to_video(frame[:, :height, :width], base.stage.device))
            whole, tiled = (to_uint8(decode_latents(base.stage.vae, latents, tile=size)) for size in (None, tile))
            errors.append(squared_error(*(each[0].permute(1, 2, 3, 0).numpy() for each in (tiled, whole))))
        yield f"VAE tiles of {tile} in {height}x{width}", float(np.mean(errors))


if __name__ == "__main__":
    main()
