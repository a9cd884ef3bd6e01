"""How well an autoencoder keeps rendered clips: PSNR, and what the judge still reads after the round trip.

python -m lab.autoencoder.round_trip FOLDER
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import torch

from lavie.evaluation.fidelity import frames_through, psnr, squared_error
from lavie.evaluation.report import mean, rounded
from lavie.flags import number, size

from ..sprites import frame_times, sample_scene
from ..sprites.held_out import rendered_with_sprite
from ..sprites.score import score

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL


def measure(vae: AutoencoderKL, clips: int, frames: int, height: int, width: int, seed: int = 4242) -> dict:
    """PSNR of whole images and of sprites, and the judge's accuracy before and after the autoencoder."""
    generator = torch.Generator().manual_seed(seed)
    scenes = [sample_scene(generator, held_out=i % 2 == 1) for i in range(clips)]
    rendered = [rendered_with_sprite(scene, frame_times(frames), height, width) for scene in scenes]
    kept = [frames_through(vae, video) for video, _ in rendered]
    triples = [(after, video, sprite) for after, (video, sprite) in zip(kept, rendered, strict=True)]
    return {
        "clips": clips,
        "psnr": psnr(mean([squared_error(after, video) for after, video, _ in triples])),
        "psnr_of_sprites": psnr(mean([squared_error(*triple) for triple in triples])),
        "judge_on_real_clips": score(scenes, [video for video, _ in rendered]).shares,
        "judge_after_the_autoencoder": score(scenes, kept).shares,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="an autoencoder in diffusers format")
    parser.add_argument("--clips", type=number(int, 1, 100_000), default=100)
    parser.add_argument("--frames", type=number(int, 1, 1000), default=8)
    parser.add_argument("--size", type=size, default=(64, 96), metavar="HxW")
    options = parser.parse_args(arguments)
    from lavie.models.vae import load_vae

    figures = measure(load_vae(options.folder), options.clips, options.frames, *options.size)
    print(json.dumps(rounded(figures), indent=2))


if __name__ == "__main__":
    main()
