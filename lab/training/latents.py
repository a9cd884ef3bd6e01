"""Rendered clips encoded once, whole batches at a time and in bfloat16, so that training reads only latents."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from tqdm import tqdm

from lavie.training.data import Clip, ClipRequest
from lavie.training.data.precomputed import Precomputed, write_precomputed
from lavie.training.precompute import checksum

from ..autoencoder.network import posterior_of
from .data import World

SLICE = 16  # pictures at a time: larger slices leave the processor's cache


@torch.no_grad()
def encoded(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Scaled latents [n, 4, h / 8, w / 8] of pictures [n, 3, h, w] in −1…1."""
    pictures = pictures.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        parts = [posterior_of(vae, part).mean.float() for part in pictures.split(SLICE)]
    return torch.cat(parts) * vae.config["scaling_factor"]


def encoder(vae: AutoencoderKL) -> Callable[[list[Clip]], Sequence[dict[str, Tensor]]]:
    """From clips of one shape to their "latents" [4, f, h / 8, w / 8] and "mask" [1, f, h / 8, w / 8]."""

    def encode(clips: list[Clip]) -> list[dict[str, Tensor]]:
        video = torch.stack([clip.tensors["video"] for clip in clips])
        frames = video.transpose(1, 2).flatten(0, 1)
        latents = encoded(vae, frames).unflatten(0, (len(clips), -1)).transpose(1, 2)
        factor = video.shape[-1] // latents.shape[-1]
        masks = F.avg_pool3d(torch.stack([clip.tensors["mask"] for clip in clips]), (1, factor, factor))
        return [{"latents": each, "mask": mask} for each, mask in zip(latents, masks, strict=True)]

    return encode


def precomputed(world: World, request: ClipRequest, vae: AutoencoderKL, folder: Path) -> Precomputed:
    """The world as it lies encoded in `folder`; what is missing is encoded first."""
    identity, batch = f"latents-bf16-{checksum(vae)}", 64 if request.num_frames == 1 else 8
    with tqdm(total=len(world), desc=f"encoding {world.name}", file=sys.stderr, mininterval=5) as bar:
        write_precomputed(
            world, request, encoder(vae), folder, batch, identity, on_rows=lambda done, _: bar.update(done - bar.n)
        )
    return Precomputed(world, folder, identity)
