"""Synthetic clips as latents, encoded once and kept in a file: encoding costs as much as training on them."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import avg_pool3d
from tqdm import tqdm

from ..models.latents import encode_video
from .synthetic import Scene, frame_times, render, sample_scene


def scenes(seed: int, count: int, held_out: bool = False) -> list[Scene]:
    """The `count` scenes that belong to `seed`."""
    generator = torch.Generator().manual_seed(seed)
    return [sample_scene(generator, held_out) for _ in range(count)]


@torch.no_grad()
def clip_latents(vae: AutoencoderKL, clips: list[Scene], frames: int, height: int, width: int, file: Path) -> Tensor:
    """Scaled latents of all clips, float16 [clips, 4, frames, height/8, width/8]; read from `file` if it is there.

    They are means of the VAE's posterior, which is a thousandth wide.
    """
    if file.exists():
        return torch.load(file, weights_only=True, mmap=True)
    latents, batch = [], max(1, 128 // frames)
    for start in tqdm(range(0, len(clips), batch), desc="encoding clips", mininterval=10):
        video, _ = render(clips[start : start + batch], frame_times(frames), height, width)
        latents.append(encode_video(vae, video.to(vae.device)).half().cpu())
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(torch.cat(latents), file.with_suffix(".partial"))
    file.with_suffix(".partial").replace(file)
    return torch.load(file, weights_only=True, mmap=True)


def clip_masks(clips: list[Scene], frames: int, height: int, width: int) -> Tensor:
    """How much of each latent pixel the sprite covers, float16 [clips, 1, frames, height/8, width/8] in 0…1."""
    masks = []
    for start in range(0, len(clips), 8):
        _, mask = render(clips[start : start + 8], frame_times(frames), height, width)
        masks.append(avg_pool3d(mask, (1, 8, 8)).half())
    return torch.cat(masks)
