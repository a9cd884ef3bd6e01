"""How well an autoencoder keeps synthetic clips: PSNR, and what the judge still reads after the round trip."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..models.latents import decode_latents, encode_video, to_uint8
from ..training.synthetic import Scene, frame_times, render, sample_scene
from .synthetic import score

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


@torch.no_grad()
def round_trip(vae: AutoencoderKL, video: Tensor) -> Tensor:
    """Encodes and decodes video [b, 3, f, h, w] in −1…1 frame by frame, from the posterior's mean."""
    frames = video.transpose(1, 2).flatten(0, 1).split(8)
    decoded = [vae.decode(vae.encode(part).latent_dist.mean).sample.clamp(-1, 1) for part in frames]
    return torch.cat(decoded).unflatten(0, (len(video), -1)).transpose(1, 2)


def frames_through(vae: AutoencoderKL, frames: np.ndarray) -> np.ndarray:
    """uint8 [f, h, w, 3] as the pipelines encode and decode it, from the posterior's mean."""
    video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    decoded = decode_latents(vae, encode_video(vae, video))
    return to_uint8(decoded.cpu())[0].permute(1, 2, 3, 0).numpy()


def psnr(video: Tensor, reference: Tensor, weight: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of values in −1…1, averaged over clips; `weight` chooses the pixels."""
    weight = torch.ones_like(video[:, :1]) if weight is None else weight
    error = ((video - reference) ** 2 * weight).sum((1, 2, 3, 4)) / (3 * weight.sum((1, 2, 3, 4)))
    return (10 * (4 / error).log10()).mean().item()


def accuracy(scenes: list[Scene], video: Tensor) -> dict[str, float]:
    """The shares of clips that the judge reads right, of a video [b, 3, f, h, w] in −1…1."""
    frames = ((video + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 4, 1)
    return {name: round(share, 4) for name, share in score(scenes, frames).shares.items()}


def measure(vae: AutoencoderKL, clips: int, frames: int, height: int, width: int, seed: int = 4242) -> dict:
    """PSNR of whole pictures and of sprites, and the judge's accuracy before and after the autoencoder."""
    generator = torch.Generator().manual_seed(seed)
    scenes = [sample_scene(generator, held_out=i % 2 == 1) for i in range(clips)]
    video, mask = render(scenes, frame_times(frames), height, width)
    decoded = round_trip(vae, video)
    return {
        "clips": clips,
        "psnr": round(psnr(decoded, video), 2),
        "psnr_of_sprites": round(psnr(decoded, video, mask), 2),
        "judge_on_real_clips": accuracy(scenes, video),
        "judge_after_the_autoencoder": accuracy(scenes, decoded),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="an autoencoder in diffusers format")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", default="64x96", help="height x width")
    options = parser.parse_args(arguments)
    from diffusers import AutoencoderKL

    height, width = (int(number) for number in options.size.split("x"))
    vae = AutoencoderKL.from_pretrained(options.folder).float().eval()
    print(json.dumps(measure(vae, options.clips, options.frames, height, width), indent=2))


if __name__ == "__main__":
    main()
