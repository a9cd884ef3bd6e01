"""Rendered clips encoded once, whole batches at a time and in bfloat16, so that training reads only latents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor
from tqdm import tqdm

from lavie.training.data import Clip, ClipRequest, ClipSource
from lavie.training.data.precomputed import Encode, Precomputed, write_precomputed
from lavie.training.data.randomness import generator_of
from lavie.training.precompute import checksum
from lavie.training.stages import DenoisingStage

SLICE = 16  # images at a time: larger slices leave the processor's cache
FRAMES = 128  # that are rendered before they are encoded


def posterior_of(vae: AutoencoderKL, images: Tensor) -> DiagonalGaussianDistribution:
    """The posterior of images [n, 3, h, w] in −1…1, in unscaled latents."""
    return cast("Any", vae.encode(images)).latent_dist


@torch.no_grad()
def encoded(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Scaled latents [n, 4, h / 8, w / 8] of images [n, 3, h, w] in −1…1."""
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        parts = [posterior_of(vae, part).mean.float() for part in images.split(SLICE)]
    return torch.cat(parts) * vae.config["scaling_factor"]


def encoder(vae: AutoencoderKL) -> Encode:
    """From clips of one shape to their "latents" [4, f, h / 8, w / 8] and "mask" [1, f, h / 8, w / 8]."""

    def encode(clips: list[Clip]) -> list[dict[str, Tensor]]:
        video = torch.stack([clip.tensors["video"] for clip in clips])
        frames = video.transpose(1, 2).flatten(0, 1)
        latents = encoded(vae, frames).unflatten(0, (len(clips), -1)).transpose(1, 2)
        factor = video.shape[-1] // latents.shape[-1]
        masks = F.avg_pool3d(torch.stack([clip.tensors["mask"] for clip in clips]), (1, factor, factor))
        return [{"latents": each, "mask": mask} for each, mask in zip(latents, masks, strict=True)]

    return encode


def enlargement_encoder(stage: DenoisingStage) -> Encode:
    """From large clips to what the upscaler learns from: see `lavie.training.stages.Upscaler.encode`."""

    def encode(clips: list[Clip]) -> list[dict[str, Tensor]]:
        with torch.autocast("cpu", torch.bfloat16):
            return [stage.encode(clip, generator_of("encode", clip.name)) for clip in clips]

    return encode


def precomputed(source: ClipSource, request: ClipRequest, stage: DenoisingStage, folder: Path) -> Precomputed:
    """The source, encoded for a stage in `folder`; what is missing there is encoded first."""
    vae, base_vae = stage.parts.vae, stage.parts.base_vae
    encode = encoder(vae) if base_vae is None else enlargement_encoder(stage)
    identity = "-".join(["latents-bf16", *(checksum(each) for each in (vae, base_vae) if each is not None)])
    batch = max(1, min(64, FRAMES // request.num_frames))
    with tqdm(total=len(source), desc=f"encoding {source.name}", file=sys.stderr, mininterval=5) as bar:
        write_precomputed(
            source, request, encode, folder, batch, identity, on_rows=lambda done, _: bar.update(done - bar.n)
        )
    return Precomputed(source, folder, identity)
