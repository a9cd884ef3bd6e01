"""What each autoencoder is, what it learns from, and what counts how much."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What Muon and AdamW are given, unless the command says otherwise; see lavie.training.settings.LoopSettings.
LOOP = {"optimizer": "muon", "warmup": 100, "ema_decay": 0.995, "weight_decay": 1e-3}


@dataclass(frozen=True)
class AutoencoderRecipe:
    """An autoencoder and its training.

    part: its folder in the family. height, width: pixels of an image. The first steps see squares of `crop` pixels,
    most of them around a sprite. From the fraction `whole_from` of the run on, images stay whole, at `whole_scale`
    of their size: group norms have other statistics there, and a model that saw crops alone shifts the colours of
    whole images. batch_size, learning_rate: of the loop.

    mask_weight, block_weight, edge_weight, kl_weight: see `lab.autoencoder.loss`. guide_weight: of the
    guide at the first step; it falls to nothing by the fraction `guide_until` of the run.

    decoder_only: the encoder stays as it is, so that latents keep their meaning, and the decoder learns more detail
    from latents with noise of `decoder_noise` (scaled).
    """

    part: str
    block_out_channels: tuple[int, ...]
    mid_attention: bool
    height: int
    width: int
    norm_groups: int = 2
    crop: int = 48
    whole_from: float = 0.5
    whole_scale: float = 1.0
    batch_size: int = 8
    learning_rate: float = 2e-3
    mask_weight: float = 8.0
    block_weight: float = 2.0
    edge_weight: float = 1.0
    kl_weight: float = 1e-6
    guide_weight: float = 0.5
    guide_until: float = 0.2
    decoder_only: bool = False
    decoder_noise: float = 0.0

    @property
    def whole_size(self) -> tuple[int, int]:
        """Height and width of the images that stay whole."""
        return round(self.height * self.whole_scale), round(self.width * self.whole_scale)

    def guide(self, step: int, steps: int) -> float:
        """What the guide weighs at a step of a run of so many."""
        return self.guide_weight * max(0.0, 1 - step / (self.guide_until * steps))


VAE = AutoencoderRecipe("vae", (16, 32, 64, 96), mid_attention=True, height=64, width=96)
RECIPES = {
    "vae": VAE,
    "vae-decoder": replace(
        VAE,
        batch_size=4,
        learning_rate=1e-3,
        whole_from=0.0,
        guide_weight=0.0,
        decoder_only=True,
        decoder_noise=0.03,
    ),
    "upscaler-vae": AutoencoderRecipe(
        "upscaler_vae",
        (16, 32, 64),
        mid_attention=False,
        height=256,
        width=384,
        crop=64,
        whole_from=0.65,
        whole_scale=0.5,
        batch_size=4,
        mask_weight=6.0,
        edge_weight=0.5,
    ),
}
