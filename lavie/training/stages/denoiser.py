"""The module that is trained, and its batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...models import VideoUNet

if TYPE_CHECKING:
    from transformers import CLIPTextModel


class Denoiser(nn.Module):
    """A video UNet, and the text encoder if that is trained, too: one module that DDP and FSDP can wrap."""

    def __init__(self, unet: VideoUNet, text_model: CLIPTextModel | None = None) -> None:
        super().__init__()
        self.unet = unet
        self.text_model = text_model

    def forward(
        self,
        sample: Tensor,
        timesteps: Tensor,
        text: Tensor,
        class_labels: Tensor | None = None,
        num_images: int = 0,
    ) -> Tensor:
        """The UNet's prediction [batch, 4, frames, h, w].

        Args:
            sample: noisy latents and what else the stage is given, [batch, channels, T + M, h, w].
            timesteps: int64 [batch] or, with images, [batch, 1 + M]; [batch, T + M] where every frame has its own.
            text: embeddings [batch, 1 + M, 77, channels], or int64 tokens [batch, 1 + M, 77] for the text encoder.
            class_labels: int64 [batch], the noise level of the upscaler's low-resolution input.
            num_images: M, how many images follow the T frames.
        """
        if not text.is_floating_point():
            assert self.text_model is not None, "tokens are for a text encoder that learns"
            text = embed_tokens(self.text_model, text)
        text = text if num_images else text[:, 0]
        return self.unet(sample, timesteps, text, class_labels=class_labels, **_images(num_images))


def embed_tokens(text_model: nn.Module, tokens: Tensor) -> Tensor:
    """Embeddings [batch, texts, 77, channels] of tokens int64 [batch, texts, 77]."""
    states = text_model(tokens.flatten(0, 1)).last_hidden_state
    return states.unflatten(0, tokens.shape[:2])


def _images(num_images: int) -> dict[str, int]:
    return {"num_images": num_images} if num_images else {}


@dataclass(frozen=True)
class Prepared:
    """One example before noise meets latents: all that chance decides is drawn, on the CPU.

    latents, noise: [4, T + M, h, w], scaled. timesteps: int64 [1 + M], or [T + M]. captions: 1 + M of them, empty where
    text was dropped. teacher_caption: see `Clip`. condition: [channels, T + M, h, w], what the network is given besides
    noise. label: the noise level. mask_weights: [1, T + M, h, w], how much an error counts there. text:
    [1 + M, 77, channels] where it was precomputed.
    """

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    captions: tuple[str, ...]
    teacher_caption: str | None = None
    condition: Tensor | None = None
    label: int | None = None
    mask_weights: Tensor | None = None
    text: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """Prepared examples on the device, stacked."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    captions: tuple[tuple[str, ...], ...]
    teacher_captions: tuple[str | None, ...]
    condition: Tensor | None
    labels: Tensor | None
    mask_weights: Tensor | None
    text: Tensor | None

    @classmethod
    def of(cls, parts: Sequence[Prepared], device: torch.device) -> Batch:
        def stacked(name: str) -> Tensor:
            return torch.stack([getattr(part, name).to(device) for part in parts])

        def stacked_if_there(name: str) -> Tensor | None:
            return None if getattr(parts[0], name) is None else stacked(name)

        labels = [part.label for part in parts]
        return cls(
            latents=stacked("latents"),
            noise=stacked("noise"),
            timesteps=stacked("timesteps"),
            captions=tuple(part.captions for part in parts),
            teacher_captions=tuple(part.teacher_caption for part in parts),
            condition=stacked_if_there("condition"),
            labels=None if labels[0] is None else torch.tensor(labels, device=device),
            mask_weights=stacked_if_there("mask_weights"),
            text=stacked_if_there("text"),
        )
