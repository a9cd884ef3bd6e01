"""The stage that learns to encode and decode images."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from lavie.atomic import written_whole
from lavie.models.latents import to_uint8
from lavie.training.data import Example

from .images import whole_images
from .loss import loss_terms
from .network import Autoencoder, posterior_of
from .recipes import AutoencoderRecipe

SAMPLES = 6
SCALE_IMAGES = 64
SCALE_SEED = 1


class AutoencoderStage:
    """An autoencoder of a recipe, for a run of `steps` steps of `batch_size` images; see `lavie.training.loop`."""

    def __init__(self, vae: AutoencoderKL, recipe: AutoencoderRecipe, steps: int, batch_size: int) -> None:
        self.model = Autoencoder(vae, recipe.decoder_only, recipe.decoder_noise)
        self.recipe, self.steps, self.batch_size = recipe, steps, batch_size

    def loss(self, model: nn.Module, examples: list[Example]) -> dict[str, Tensor]:
        """Means over the examples, all of one step, which decides how much the guide counts."""
        device = next(model.parameters()).device
        image, mask = (
            torch.stack([example.clip.tensors[name][:, 0] for example in examples]).to(device)
            for name in ("video", "mask")
        )
        shape = self.model.latent_shape(image)
        noise = torch.stack([torch.randn(shape, generator=example.generator()) for example in examples])
        guide = self.recipe.guide(examples[0].number // self.batch_size, self.steps)
        return loss_terms(image, mask, model(image, noise.to(device)), self.recipe, guide)

    def samples(self, model: Autoencoder) -> dict[str, np.ndarray]:
        """Whole images, each above what becomes of it: uint8 [images, 2 · height, width, 3]."""
        images = whole_images(self.recipe, SAMPLES, seed=0)
        decoded = [model(*self._as_batch(image, model)).decoded[0].float().cpu() for image in images]
        both = torch.cat((images, torch.stack(decoded)), dim=2)
        return {"images and reconstructions": to_uint8(both).permute(0, 2, 3, 1).numpy()}

    def save(self, model: Autoencoder, folder: Path) -> None:
        """Writes diffusers' folder, float16, into the family's, with the scaling factor measured anew.

        Where only the decoder learnt, latents mean what they meant before, and the factor stays.

        Raises:
            LavieError: it cannot be written.
        """
        vae = deepcopy(model.vae).cpu()
        if not self.recipe.decoder_only:
            vae.register_to_config(scaling_factor=round(latent_scale(vae, self.recipe), 5))
        with written_whole(folder / self.recipe.part) as partial:
            vae.half().save_pretrained(partial, safe_serialization=True)

    def _as_batch(self, image: Tensor, model: nn.Module) -> tuple[Tensor, Tensor]:
        """One image, and no noise on its latents."""
        device = next(model.parameters()).device
        return image[None].to(device), torch.zeros(1, *self.model.latent_shape(image), device=device)


@torch.no_grad()
def latent_scale(vae: AutoencoderKL, recipe: AutoencoderRecipe) -> float:
    """The scaling factor: 1 / standard deviation of the latents' means over rendered images."""
    images = whole_images(recipe, SCALE_IMAGES, SCALE_SEED)
    means = [posterior_of(vae, image[None]).mean for image in images]
    return 1 / torch.cat(means).std().item()
