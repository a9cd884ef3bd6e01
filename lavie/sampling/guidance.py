"""Classifier-free guidance around a UNet."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError
from ..models import VideoUNet

# Frames, rows and columns of the latents that one evaluation of the network sees.
Region = tuple[slice, slice, slice]
Predict = Callable[[Tensor, Tensor, Region], Tensor]


@dataclass(frozen=True)
class TextCondition:
    """Embeddings [batch, tokens, channels] of what to show and what to avoid; a batch of 1 stands for every clip."""

    positive: Tensor
    negative: Tensor

    @classmethod
    def of(cls, positive: Tensor, negative: Tensor) -> TextCondition:
        """Embeddings of any two lengths: both are repeated to their least common multiple of tokens.

        Attention to every key n times is attention to every key once. A batch of 1 is repeated, too.

        Raises:
            UsageError: the two come from different text encoders, or are for different numbers of clips.
        """
        if positive.shape[2] != negative.shape[2]:
            raise UsageError(
                f"The prompt's embedding is {positive.shape[2]} wide, the negative prompt's {negative.shape[2]}: "
                "encode both with the same text encoder."
            )
        batch = max(len(positive), len(negative))
        if {len(positive), len(negative)} - {1, batch}:
            raise UsageError(f"There are {len(positive)} prompts but {len(negative)} negative prompts.")
        tokens = math.lcm(positive.shape[1], negative.shape[1])
        return cls(*(_repeated(states, batch, tokens) for states in (positive, negative)))


def guided(
    unet: VideoUNet,
    text: TextCondition,
    guidance_scale: float,
    condition: Tensor | None = None,
    class_labels: Tensor | None = None,
    split: bool = False,
    device: torch.device | None = None,
) -> Predict:
    """negative + guidance_scale · (positive − negative), both halves in one batch; scale 1 needs one half only.

    Args:
        condition: more input channels [batch, channels, frames, height, width], the same for both halves (key
            frames, masked latents, low-resolution pixels); a region is cut from it as from the latents.
        split: one half after the other: half the memory, equal within rounding.
        device: where the network runs, by default where the latents are; what it needs of a long clip is moved
            there, and its prediction back.
    """
    halves = [text.positive] if guidance_scale == 1 else [text.negative, text.positive]

    def predict(latents: Tensor, timestep: Tensor, region: Region) -> Tensor:
        where = device or latents.device
        x, batch = latents.to(where), len(latents)
        if condition is not None:
            extra = condition[(..., *region)].to(where).expand(batch, -1, -1, -1, -1)
            x = torch.cat((x, extra), dim=1)
        labels = None if class_labels is None else class_labels.to(where).expand(batch)

        def network(states: Tensor) -> tuple[Tensor, ...]:
            count = len(states) // batch
            known = None if labels is None else labels.repeat(count)
            return unet(x.repeat(count, 1, 1, 1, 1), timestep, states, class_labels=known).float().split(batch)

        states = [half.to(where).expand(batch, -1, -1) for half in halves]
        outs = [out for part in (states if split else [torch.cat(states)]) for out in network(part)]
        if len(outs) == 1:
            return outs[0].to(latents.device)
        negative, positive = outs
        return (negative + guidance_scale * (positive - negative)).to(latents.device)

    return predict


def _repeated(states: Tensor, batch: int, tokens: int) -> Tensor:
    times = tokens // states.shape[1]
    return (states if times == 1 else states.repeat(1, times, 1)).expand(batch, -1, -1)
