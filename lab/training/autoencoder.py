"""The image autoencoders of lavie-tiny, trained on rendered images.

    python -m lab.training.autoencoder vae FAMILY RUN --steps 3000

Every step sees whole images, because group norms have other statistics on crops. The loss is L1 plus squared error on
pixels, and L1 on differences of neighbours (edges) and on means of 4×4 blocks (colours); a guest counts more. The
decoder gets latents with a little noise, a share of their own deviation, so that it does not magnify the noise that the
denoiser leaves.
"""

from __future__ import annotations

import argparse
import json
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from lavie.models.latents import to_uint8
from lavie.models.vae import load_vae
from lavie.training.data import ClipRequest, Example, Mixture, TrainingData
from lavie.training.data.randomness import generator_of
from lavie.training.loop import train
from lavie.training.settings import LoopSettings

from .data import World
from .latents import posterior_of

BUNDLED = Path(__file__).parents[2] / "lavie" / "weights" / "tiny"
SIZES = {"vae": (64, 96), "upscaler_vae": (128, 192)}
BLOCK, GUEST_WEIGHT, EDGE_WEIGHT, BLOCK_WEIGHT, KL_WEIGHT = 4, 3.0, 1.0, 1.0, 1e-6
NOISE = 0.1  # of the latents' deviation
HELD_OUT_SEED, HELD_OUT = 909, 64


class Autoencoder(nn.Module):
    """diffusers' AutoencoderKL, encoding and decoding in one pass."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(True)

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstructions of images [b, 3, h, w] in −1…1, and the latents' means; noise: [b, 4, h / f, w / f]."""
        mean = posterior_of(self.vae, image).mean
        return decoded(self.vae, mean + NOISE * mean.detach().float().std() * noise), mean


class AutoencoderStage:
    """One autoencoder for `lavie.training.loop`."""

    def __init__(self, vae: AutoencoderKL, height: int, width: int) -> None:
        self.model, self.height, self.width = Autoencoder(vae), height, width
        self.factor = 2 ** (len(vae.config["block_out_channels"]) - 1)

    def loss(self, model: nn.Module, examples: list[Example]) -> dict[str, Tensor]:
        device = next(model.parameters()).device
        image, mask = (
            torch.stack([example.clip.tensors[name][:, 0] for example in examples]).to(device)
            for name in ("video", "mask")
        )
        shape = (4, self.height // self.factor, self.width // self.factor)
        noise = torch.stack([torch.randn(shape, generator=example.generator()) for example in examples])
        made, mean = model(image, noise.to(device))
        return loss_terms(made.float() - image, mask, mean.float())

    def samples(self, model: Autoencoder) -> dict[str, np.ndarray]:
        """Held-out images above their reconstructions, uint8 [images, 2 · h, w, 3]."""
        images = held_out_images(self.height, self.width)[:8]
        both = torch.cat((images, there_and_back(model.vae, images)), dim=2)
        return {"images and their reconstructions": to_uint8(both).permute(0, 2, 3, 1).numpy()}


def loss_terms(error: Tensor, mask: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """error: [b, 3, h, w]. mask: the guest's coverage, [b, 1, h, w]. mean: latents."""
    weight = 1 + (GUEST_WEIGHT - 1) * mask
    pixel = (weight * (error.abs() + error.square())).sum() / (3 * weight.sum())
    edges = (weight[..., 1:] * error.diff(dim=-1).abs()).mean() + (weight[..., 1:, :] * error.diff(dim=-2).abs()).mean()
    blocks = F.avg_pool2d(error, BLOCK).abs().mean()
    kl = 0.5 * mean.square().sum(dim=(1, 2, 3)).mean()
    total = pixel + 0.5 * EDGE_WEIGHT * edges + BLOCK_WEIGHT * blocks + KL_WEIGHT * kl
    return {"total": total, "pixel": pixel, "edges": edges, "blocks": blocks}


def decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    return cast("Any", vae.decode)(latents).sample  # diffusers declares another output


@torch.no_grad()
def there_and_back(vae: AutoencoderKL, images: Tensor) -> Tensor:
    parts = [decoded(vae, posterior_of(vae, part).mean) for part in images.split(8)]
    return torch.cat(parts).clamp(-1, 1)


def held_out_images(height: int, width: int) -> Tensor:
    """Images that training never sees, [64, 3, h, w] in −1…1."""
    world, request = World(HELD_OUT, HELD_OUT_SEED, stills=True), ClipRequest(1, height, width)
    rows = [world.read(row, request, generator_of("held out", row)) for row in range(HELD_OUT)]
    return torch.stack([clip.tensors["video"][:, 0] for clip in rows])


def psnr(error: Tensor) -> float:
    """Of errors in −1…1, in dB."""
    return float(10 * torch.log10(4 / error.square().mean()))


@torch.no_grad()
def save(vae: AutoencoderKL, folder: Path, height: int, width: int) -> dict[str, float]:
    """Write the model as a diffusers folder in float16, with the measured scaling factor; returns the PSNR (dB) of
    held-out images and the deviation of their latents."""
    images = held_out_images(height, width)
    latents = torch.cat([posterior_of(vae, part).mean for part in images.split(8)])
    worth = {"psnr": psnr(there_and_back(vae, images) - images), "deviation": float(latents.std())}
    vae.register_to_config(scaling_factor=round(1 / worth["deviation"], 5))
    deepcopy(vae).half().save_pretrained(folder, safe_serialization=True)
    return worth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=SIZES)
    parser.add_argument("family", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--precision", default="bf16", choices=("no", "bf16"))
    args = parser.parse_args()
    height, width = SIZES[args.part]
    settings = LoopSettings(
        args.steps,
        args.batch,
        learning_rate=args.learning_rate,
        optimizer="muon",
        warmup=50,
        weight_decay=1e-3,
        ema_decay=0.995,
        mixed_precision=args.precision,
        save_every=100,
        log_every=20,
    )
    stage = AutoencoderStage(load_vae(BUNDLED / args.part, dtype=torch.float32), height, width)
    data = TrainingData(Mixture([World(10**7, 1, stills=True)]), ClipRequest(1, height, width), args.batch, 0)
    result = train(stage, data, settings, args.run)
    print(json.dumps({"steps": result.steps, **save(result.model.vae.float(), args.family / args.part, height, width)}))
    raise SystemExit(128 + result.signal if result.stopped else 0)


if __name__ == "__main__":
    main()
