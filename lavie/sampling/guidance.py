"""Classifier-free guidance around a UNet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..config import MATCHED, StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..models.attention import TemporalStrategy
from ..models.residuals import summed
from ..speed import EXACT
from .control import ActiveControl, Seen
from .deep_cache import DeepCache
from .guidance_interval import in_interval
from .guidance_reuse import reused
from .step_cache import StepCache, StepCaches

# Frames, rows and columns of the latents that one evaluation of the network sees.
Region = tuple[slice, slice, slice]
# Noisy latents of a region, the timestep (one for all, or [1, frames], one for each frame) and the region.
Predict = Callable[[Tensor, Tensor, Region], Tensor]


@dataclass(frozen=True)
class TextCondition:
    """Embeddings of what to show and what to avoid, both [batch, tokens, channels], or both [batch, frames, tokens,
    channels] where every frame has a text of its own; a batch of 1 stands for every clip.

    controls: ControlNets and T2I-Adapters, which act beside the texts.
    """

    positive: Tensor
    negative: Tensor
    controls: tuple[ActiveControl, ...] = ()

    @classmethod
    def of(cls, positive: Tensor, negative: Tensor) -> TextCondition:
        """Embeddings of any two lengths: both are repeated to the least common multiple of their lengths.

        Repeating every key n times does not change attention. A batch of 1 is repeated, too, and so is one text for all
        frames if the other has one for each.

        Raises:
            UsageError: the two come from different text encoders, or are for different numbers of clips or frames.
        """
        if positive.shape[-1] != negative.shape[-1]:
            raise UsageError(
                f"The prompt's embedding is {positive.shape[-1]} wide, the negative prompt's {negative.shape[-1]}: "
                "encode both with the same text encoder."
            )
        batch = max(len(positive), len(negative))
        if {len(positive), len(negative)} - {1, batch}:
            raise UsageError(f"There are {len(positive)} prompts but {len(negative)} negative prompts.")
        tokens = math.lcm(positive.shape[-2], negative.shape[-2])
        frames = {states.shape[1] for states in (positive, negative) if states.ndim == 4}
        if len(frames) > 1:
            raise UsageError(f"The prompt is for {positive.shape[1]} frames, the negative for {negative.shape[1]}.")
        shape = (batch, max(frames, default=0), tokens)
        return cls(_repeated(positive, *shape), _repeated(negative, *shape))

    @property
    def frames(self) -> int | None:
        """How many frames have a text of their own; None: one text for all."""
        return self.positive.shape[1] if self.positive.ndim == 4 else None

    def over(self, num_frames: int, stretch: bool = False) -> TextCondition:
        """The same for a video of that many frames; see `ActiveControl.over`."""
        return replace(self, controls=tuple(control.over(num_frames, stretch) for control in self.controls))

    def part(self, num_frames: int, frames: slice, stretch: bool = False) -> TextCondition:
        """For these frames of a video of `num_frames`: the texts are for them already, the controls for the whole."""
        return replace(self, controls=tuple(each.at(frames) for each in self.over(num_frames, stretch).controls))

    def at(self, frames: slice | Tensor) -> TextCondition:
        """The texts and controls of these frames of the clip (a slice or int64 indices); one text for all frames is
        unchanged."""
        controls = tuple(control.at(frames) for control in self.controls)
        if self.frames is None:
            return replace(self, controls=controls) if controls else self
        return TextCondition(self.positive[:, frames], self.negative[:, frames], controls)


def rescaled(guided: Tensor, positive: Tensor, share: float) -> Tensor:
    """The guided prediction with the standard deviation of its positive half, clip by clip; share 0 leaves it
    unchanged.

    Source: Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", section 3.4.
    """
    if share == 0:
        return guided
    dims = tuple(range(1, guided.ndim))
    matched = guided * (positive.std(dims, keepdim=True) / guided.std(dims, keepdim=True).clamp(min=1e-6))
    return guided.lerp(matched, share)


# From noisy latents of a region, a timestep and a cache: what the network predicts, float32 on its device, for each of
# the halves ("negative", "positive") that the cache names.
Evaluate = Callable[[Tensor, Tensor, Region, DeepCache], list[Tensor]]


def guided(unet: VideoUNet, text: TextCondition, config: StageConfig, **inputs: Any) -> Predict:
    """Classifier-free guidance: negative + guidance_scale · (positive − negative); scale 1 needs one half only.

    Args:
        config: gives the guidance settings; its speed says what is skipped. If every frame has its own noise level,
        nothing is.
        inputs: of `evaluated`.
    """
    evaluate = evaluated(unet, text, matched=config.control_timestep == MATCHED, **inputs)
    caches, speed, guidance_scale = StepCaches(), config.speed, config.guidance_scale

    def predict(latents: Tensor, timestep: Tensor, region: Region) -> Tensor:
        alike = timestep.numel() == 1
        now, cache = (speed, caches.at(region, float(timestep))) if alike else (EXACT, StepCache())

        def halves(*names: str) -> list[Tensor]:
            return evaluate(latents, timestep, region, DeepCache(cache, names, now))

        scale = guidance_scale if in_interval(cache.timestep, now.guidance_from, now.guidance_until) else 1.0
        difference = None if scale == 1 else cache.recent("difference", now.guidance_every)
        if scale == 1:
            (out,) = halves("positive")
            return out.to(latents.device)
        if difference is not None:
            (positive,) = halves("positive")
            out = reused(positive, difference.to(positive), scale)
        else:
            negative, positive = halves("negative", "positive")
            out = negative + scale * (positive - negative)
            if now.guidance_every > 1:
                cache.keep("difference", positive - negative)
        return rescaled(out, positive, config.guidance_rescale).to(latents.device)

    return predict


def evaluated(
    unet: VideoUNet,
    text: TextCondition,
    condition: Tensor | None = None,
    class_labels: Tensor | None = None,
    sequential_guidance: bool = False,
    device: torch.device | None = None,
    strategy: TemporalStrategy | None = None,
    down_text: Callable[[float], TextCondition] | None = None,
    keywords: Callable[[Sequence[str]], dict[str, Any]] | None = None,
    matched: bool = True,
) -> Evaluate:
    """The network on the halves of the guidance, both in one batch.

    Args:
        condition: more input channels [batch, channels, frames, height, width], the same for both halves (key
            frames, masked latents, low-resolution pixels); a region is cut from it, and from a text per frame, as from
            the latents.
        class_labels: int64 [batch], noise level of the upscaler's input.
        sequential_guidance: one half after the other: half the memory, the same result within rounding.
        device: where the network runs, by default where the latents are; what it needs of a long clip is moved
            there, and its prediction back.
        strategy: replaces temporal attention among all frames.
        down_text: the text for the down blocks and the middle block at a timestep, if it is not `text`.
        keywords: gives more keyword arguments for the network, from the halves that it evaluates in one batch.
        matched: which timestep the controls of the text are told; see `control.told_timesteps`.
    """
    always = {} if strategy is None else {"strategy": strategy}

    def evaluate(latents: Tensor, timestep: Tensor, region: Region, cache: DeepCache) -> list[Tensor]:
        where = device or latents.device
        x, batch = latents.to(where), len(latents)
        noisy, controls = x, text.at(region[0]).controls
        if condition is not None:
            extra = condition[(..., *region)].to(where).expand(batch, -1, -1, -1, -1)
            x = torch.cat((x, extra), dim=1)
        labels = None if class_labels is None else class_labels.to(where).expand(batch)

        def states(shown: TextCondition, halves: Sequence[str]) -> Tensor:
            parts = [getattr(shown.at(region[0]), half).to(where) for half in halves]
            return torch.cat([part.expand(batch, *part.shape[1:]) for part in parts])

        outs = []
        for halves in [[half] for half in cache.halves] if sequential_guidance else [cache.halves]:
            more = always | (keywords(halves) if keywords else {})
            if down_text is not None:
                more["down_hidden_states"] = states(down_text(float(timestep)), halves)
            of_batch, shown = None if labels is None else labels.repeat(len(halves)), states(text, halves)
            if controls:
                seen = Seen(_each_half(noisy, halves), timestep.float().flatten(), shown, halves, matched)
                more["control"] = summed(each for each in (c.residuals(seen) for c in controls) if each is not None)
            with cache.feature(halves, where) as deep:
                out = unet(_each_half(x, halves), timestep, shown, class_labels=of_batch, **more, **deep)
            outs += out.float().split(batch)
        return outs

    return evaluate


def _each_half(x: Tensor, halves: Sequence[str]) -> Tensor:
    return x.repeat(len(halves), 1, 1, 1, 1)


def _repeated(states: Tensor, batch: int, frames: int, tokens: int) -> Tensor:
    times = tokens // states.shape[-2]
    states = states if times == 1 else torch.cat([states] * times, dim=-2)
    states = states[:, None].expand(-1, frames, -1, -1) if frames and states.ndim == 3 else states
    return states.expand(batch, *states.shape[1:])
