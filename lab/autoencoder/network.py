"""The autoencoder as the loop calls it: images to latents and back in one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from .recipes import AutoencoderRecipe

ENCODER = ("encoder.", "quant_conv.")


class Reconstruction(NamedTuple):
    """decoded: images [b, 3, h, w]. mean, logvar: the posterior's, unscaled latents [b, c, h / f, w / f]."""

    decoded: Tensor
    mean: Tensor
    logvar: Tensor


class Autoencoder(nn.Module):
    """diffusers' AutoencoderKL; with `decoder_only` its encoder learns nothing.

    decoder_noise: standard deviation, scaled, of the noise on the latents that a lone decoder learns from; else they
    are a sample of the posterior.
    """

    def __init__(self, vae: AutoencoderKL, decoder_only: bool = False, decoder_noise: float = 0.0) -> None:
        super().__init__()
        self.vae = vae.requires_grad_(True)
        self.spread = decoder_noise / vae.config["scaling_factor"] if decoder_only else None
        if decoder_only:
            for name, parameter in vae.named_parameters():
                parameter.requires_grad_(not name.startswith(ENCODER))

    def forward(self, image: Tensor, noise: Tensor) -> Reconstruction:
        """Of images [b, 3, h, w] in −1…1; `noise` has the latents' shape."""
        posterior = posterior_of(self.vae, image)
        spread = posterior.std if self.spread is None else self.spread
        decode: Callable[[Tensor], Any] = cast("Any", self.vae.decode)  # diffusers declares another input
        decoded = decode(posterior.mean + spread * noise).sample
        return Reconstruction(decoded, posterior.mean, posterior.logvar)

    def latent_shape(self, image: Tensor) -> tuple[int, int, int]:
        """Channels, height and width of the latents of images [..., h, w]."""
        config = self.vae.config
        factor = 2 ** (len(config["block_out_channels"]) - 1)
        return config["latent_channels"], image.shape[-2] // factor, image.shape[-1] // factor


def posterior_of(vae: AutoencoderKL, image: Tensor) -> DiagonalGaussianDistribution:
    """Of unscaled latents, by images [b, 3, h, w] in −1…1."""
    return cast("Any", vae.encode(image)).latent_dist


def new_autoencoder(recipe: AutoencoderRecipe) -> AutoencoderKL:
    """With fresh weights: four latent channels and one layer per block."""
    levels = len(recipe.block_out_channels)
    return AutoencoderKL(
        # diffusers says tuples of one, and means tuples of any length.
        down_block_types=("DownEncoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        up_block_types=("UpDecoderBlock2D",) * levels,  # pyright: ignore[reportArgumentType]
        block_out_channels=recipe.block_out_channels,  # pyright: ignore[reportArgumentType]
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=recipe.norm_groups,
        sample_size=max(recipe.height, recipe.width),
        mid_block_add_attention=recipe.mid_attention,
    )
