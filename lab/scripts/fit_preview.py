"""Fit the `latent_rgb_factors` of lavie/weights/tiny/family.json: a quick image of scaled latents, without the VAE.

    python -m lab.scripts.fit_preview

Least squares from four latent channels and a one to the mean colour, −1…1, of the pixels that they stand for; R² on
scenes that were not fitted.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from lab.sprites import batch
from lavie.models.latents import encode_video
from lavie.models.vae import load_vae

ROOT = Path(__file__).resolve().parents[2]
VAES = {"vae": (64, 96, 8), "upscaler_vae": (256, 384, 4)}  # height, width, pixels per latent pixel


def samples(vae: str, seed: int, clips: int, held_out: bool) -> tuple[Tensor, Tensor]:
    """Latents with a one behind them [n, 5] and colours [n, 3] of the latent pixels of random clips."""
    height, width, scale = VAES[vae]
    model, generator = load_vae(ROOT / "lavie" / "weights" / "tiny" / vae), torch.Generator().manual_seed(seed)
    videos = [batch(generator, 1, 2, height, width, held_out)["video"] for _ in range(clips)]
    video = torch.cat(videos)
    latents = torch.cat([encode_video(model, part) for part in videos])
    x, y = (part.movedim(1, -1).flatten(0, -2) for part in (latents, avg_pool3d(video, (1, scale, scale))))
    return torch.cat((x, torch.ones_like(x[:, :1])), dim=1), y


def main() -> None:
    for vae in VAES:
        x, y = samples(vae, seed=0, clips=100, held_out=False)
        factors = torch.linalg.lstsq(x.double(), y.double()).solution.float()  # float32 loses digits over 10⁶ rows
        x, y = samples(vae, seed=1, clips=60, held_out=True)
        shown = (x @ factors).clamp(-1, 1)
        r2 = 1 - (shown - y).square().mean(0) / y.var(0)
        print(f"{vae}: R² {', '.join(f'{value:.3f}' for value in r2.tolist())} (red, green, blue)")
        print(",\n".join(f"[{', '.join(f'{value:.4f}' for value in row)}]" for row in factors.tolist()))


if __name__ == "__main__":
    main()
