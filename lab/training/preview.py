"""Fit the `latent_rgb_factors` of a family's family.json: a quick image of scaled latents, without the VAE.

    python -m lab.training.preview FAMILY [IMAGES]

Least squares from four latent channels and a one to the mean colour, −1…1, of the pixels that they stand for; R² is
of images that were not fitted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor
from torch.nn.functional import avg_pool2d

from lavie.atomic import written_whole
from lavie.models.vae import load_vae
from lavie.training.data import ClipRequest
from lavie.training.data.randomness import generator_of

from .data import World
from .latents import encoded

IMAGES, HELD_OUT, SEED = 400, 100, 21
SIZES = {"vae": (64, 96), "upscaler_vae": (128, 192)}


def samples(vae: AutoencoderKL, height: int, width: int, world: World) -> tuple[Tensor, Tensor]:
    """Latents with a one behind them [n, 5] and colours [n, 3] of the latent pixels of the world's images."""
    request = ClipRequest(1, height, width)
    clips = [world.read(row, request, generator_of("preview", row)) for row in range(len(world))]
    images = torch.stack([clip.tensors["video"][:, 0] for clip in clips])
    latents = encoded(vae, images)
    means = avg_pool2d(images, height // latents.shape[-2])
    x, y = (part.movedim(1, -1).flatten(0, -2) for part in (latents, means))
    return torch.cat((x, torch.ones_like(x[:, :1])), dim=1), y


def fitted(vae: AutoencoderKL, height: int, width: int, images: int) -> tuple[list[list[float]], list[float]]:
    """The factors, five rows of red, green and blue, and the R² of each colour."""
    x, y = samples(vae, height, width, World(images, SEED, stills=True))
    factors = torch.linalg.lstsq(x.double(), y.double()).solution.float()  # float32 loses digits over so many rows
    x, y = samples(vae, height, width, World(HELD_OUT, SEED + 1, stills=True, held_out=True))
    missed = ((x @ factors).clamp(-1, 1) - y).square().mean(0) / y.var(0)
    return [[round(value, 4) for value in row] for row in factors.tolist()], (1 - missed).tolist()


def main(folder: Path, images: int) -> None:
    values, file = json.loads((folder / "family.json").read_text("utf-8")), folder / "family.json"
    for name, size in SIZES.items():
        factors, r2 = fitted(load_vae(folder / name, dtype=torch.float32), *size, images)
        print(f"{name}: R² {', '.join(f'{value:.3f}' for value in r2)} (red, green, blue)")
        for stage in values.values():
            if isinstance(stage, dict) and stage["vae"] == name:
                stage["latent_rgb_factors"] = factors
    with written_whole(file) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else IMAGES)
