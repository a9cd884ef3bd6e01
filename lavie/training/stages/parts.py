"""The parts around the network that is trained; they are loaded, moved to a device, and do not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...config import Family, StageConfig
from ...models.text_encoder import TextEncoder
from .denoiser import embed_tokens

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL


@dataclass
class StageNetworks:
    """A stage's frozen parts, and the text encoder, whether it learns or not.

    config: of the stage, in the size that training shows. vae: encodes what the network learns; base_vae: the
    upscaler's low-resolution input has been through it at times. text_is_new: the family has to be given the text
    encoder, which came from elsewhere.
    """

    family: Family
    config: StageConfig
    text_encoder: TextEncoder
    vae: AutoencoderKL
    base_vae: AutoencoderKL | None = None
    text_is_new: bool = False

    def to(self, device: torch.device) -> None:
        """Move the parts that are not there yet."""
        for module in (self.text_encoder.model, self.vae, self.base_vae):
            if module is not None and next(module.parameters()).device != device:
                nn.Module.to(module, device)

    def tokens(self, captions: tuple[tuple[str, ...], ...]) -> Tensor:
        """int64 [batch, texts, 77] of plain captions (parentheses weigh nothing), cut after 75 tokens."""
        flat = [caption for texts in captions for caption in texts]
        length = self.text_encoder.length
        rows = self.text_encoder.tokenizer(
            flat, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return rows.unflatten(0, (len(captions), -1)).to(self.text_encoder.model.device)

    @torch.no_grad()
    def embed(self, captions: tuple[tuple[str, ...], ...]) -> Tensor:
        """Embeddings [batch, texts, 77, channels], without gradients."""
        return embed_tokens(self.text_encoder.model, self.tokens(captions))
