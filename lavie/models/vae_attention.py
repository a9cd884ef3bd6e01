"""Fewer keys for the attention of a VAE's decoder, which on a large image is most of its arithmetic."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn.functional import avg_pool2d

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL


class PooledKeys:
    """A processor for diffusers' `Attention`: every pixel attends to the means over squares of pixels.

    The squares are the smallest that leave at most `max_keys` of them; a small image's are single pixels.
    Source: ToDo (Smith et al. 2024), which does so in the UNet, with one pixel in place of the mean.
    """

    def __init__(self, max_keys: int) -> None:
        from diffusers.models.attention_processor import AttnProcessor2_0

        self.max_keys = max_keys
        self._attend = AttnProcessor2_0()

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """[batch, channels, height, width] to the same."""
        side = math.ceil(math.sqrt(math.prod(hidden_states.shape[2:]) / self.max_keys))
        if side > 1:
            normed = attn.group_norm(hidden_states)
            encoder_hidden_states = avg_pool2d(normed, side, ceil_mode=True).flatten(2).transpose(1, 2)
        return self._attend(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


@contextmanager
def pooled_keys(vae: AutoencoderKL, max_keys: int) -> Generator[None]:
    """Within the block, a pixel that the VAE decodes attends to at most this many keys (see `PooledKeys`); 0: to
    all."""
    from diffusers.models.attention_processor import Attention

    attentions = [each for each in vae.decoder.modules() if isinstance(each, Attention)] if max_keys else []
    before = [each.processor for each in attentions]
    try:
        for each in attentions:
            each.set_processor(PooledKeys(max_keys))  # pyright: ignore[reportArgumentType] (any callable is one)
        yield
    finally:
        for each, processor in zip(attentions, before, strict=True):
            each.set_processor(processor)
