"""Classifier-free guidance around a UNet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models import VideoUNet

# Frames, rows and columns of the latents that one evaluation of the network sees.
Region = tuple[slice, slice, slice]
Predict = Callable[[Tensor, Tensor, Region], Tensor]


@dataclass(frozen=True)
class TextCondition:
    """Embeddings [batch, tokens, channels] of what to show and what to avoid."""

    positive: Tensor
    negative: Tensor


def guided(
    unet: VideoUNet,
    text: TextCondition,
    guidance_scale: float,
    condition: Tensor | None = None,
    class_labels: Tensor | None = None,
) -> Predict:
    """negative + guidance_scale · (positive − negative), both halves in one batch; scale 1 needs one half only.

    condition: more input channels [batch, channels, frames, height, width], the same for both halves (key
    frames, masked latents, low-resolution pixels); a region is cut from it as from the latents.
    """
    halves = 1 if guidance_scale == 1 else 2
    states = text.positive if halves == 1 else torch.cat((text.negative, text.positive))

    def predict(latents: Tensor, timestep: Tensor, region: Region) -> Tensor:
        if condition is not None:
            latents = torch.cat((latents, condition[(..., *region)]), dim=1)
        labels = None if class_labels is None else class_labels.repeat(halves)
        out = unet(latents.repeat(halves, 1, 1, 1, 1), timestep, states, class_labels=labels).float()
        if halves == 1:
            return out
        negative, positive = out.chunk(2)
        return negative + guidance_scale * (positive - negative)

    return predict
