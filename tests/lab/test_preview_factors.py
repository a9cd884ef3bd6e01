"""The quick image of latents that a preview shows has the colours of the real one."""

import pytest
import torch
from torch.nn.functional import avg_pool3d

from lab.sprites import batch
from lavie.config import find_family
from lavie.models.latents import encode_video
from lavie.models.vae import load_vae


@pytest.mark.parametrize(("stage", "scale"), [("base", 8), ("interpolation", 8), ("upscaler", 4)])
def test_the_preview_shows_the_mean_colours_of_the_pixels(stage, scale):
    family = find_family("lavie-tiny")
    config = getattr(family, stage)
    factors = torch.tensor(config.latent_rgb_factors)
    assert factors.shape == (5, 3)
    video = batch(torch.Generator().manual_seed(2), 12, frames=1, held_out=True)["video"]
    latents = encode_video(load_vae(family.path(config.vae)), video)
    colours = avg_pool3d(video, (1, scale, scale))
    preview = (torch.einsum("bcfhw,cr->brfhw", latents, factors[:4]) + factors[4].view(3, 1, 1, 1)).clamp(-1, 1)
    error = (preview - colours).square().mean((0, 2, 3, 4))
    assert (1 - error / colours.transpose(0, 1).flatten(1).var(1) > 0.9).all()
