"""What an autoencoder is to keep of an image: pixels, the colours of blocks, edges."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor

from .network import Reconstruction
from .recipes import AutoencoderRecipe

BLOCK = 8  # pixels


def loss_terms(
    image: Tensor, mask: Tensor, made: Reconstruction, recipe: AutoencoderRecipe, guide: float
) -> dict[str, Tensor]:
    """The terms of the objective and their weighted sum, "total": each a mean over the images.

    image: [b, 3, h, w] in −1…1. mask: the sprites' coverage [b, 1, h, w] in 0…1, where errors count `mask_weight`
    times. guide: the weight of the distance of three latent channels from the mean colours of their blocks.
    """
    error = made.decoded - image
    weight = 1 + (recipe.mask_weight - 1) * mask
    terms = {
        "pixel": (_sum(weight * (error.abs() + error**2)) / (3 * _sum(weight))).mean(),
        "colour": _block_error(error, mask),
        "edges": _edge_error(error, weight),
        "kl": 0.5 * _sum(made.mean**2 + made.logvar.exp() - 1 - made.logvar).mean(),
        "guide": _guide_error(made.mean, image),
    }
    weights = {
        "pixel": 1.0,
        "colour": recipe.block_weight,
        "edges": recipe.edge_weight,
        "kl": recipe.kl_weight,
        "guide": guide,
    }
    total = cast("Tensor", sum(weight * terms[name] for name, weight in weights.items()))
    return {"total": total, **terms}


def _block_error(error: Tensor, mask: Tensor) -> Tensor:
    """Of the blocks' mean colours, and of their sprites' alone."""
    blocks = F.avg_pool2d(error, BLOCK).abs().mean()
    of_sprites = _sum(F.avg_pool2d(error * mask, BLOCK).abs()) / (3 * _sum(F.avg_pool2d(mask, BLOCK)) + 1)
    return blocks + of_sprites.mean()


def _edge_error(error: Tensor, weight: Tensor) -> Tensor:
    across = _sum(error.diff(dim=-1).abs() * weight[..., 1:])
    down = _sum(error.diff(dim=-2).abs() * weight[..., 1:, :])
    return ((across + down) / (6 * _sum(weight))).mean()


def _guide_error(mean: Tensor, image: Tensor) -> Tensor:
    colours = F.adaptive_avg_pool2d(image, (mean.shape[-2], mean.shape[-1]))
    return (mean[:, :3] - 2 * colours).abs().mean()


def _sum(values: Tensor) -> Tensor:
    """Of each image: [b, c, h, w] → [b]."""
    return values.sum(dim=(1, 2, 3))
