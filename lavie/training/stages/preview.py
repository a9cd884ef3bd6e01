"""Previews of a stage's network: a few fixed prompts, sampled with the code that users run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ...config import StageConfig
from ...models.latents import decode_latents, to_uint8
from ...models.text_encoder import TextEncoder
from ...sampling import TextCondition
from .denoiser import Denoiser

if TYPE_CHECKING:
    from .stage import DenoisingStage

PREVIEW_STEPS = 20
PREVIEW_PROMPTS = 2


def preview_config(stage: DenoisingStage, num_frames: int = 0) -> StageConfig:
    """The stage's settings in the size that it learns in, with at most `PREVIEW_STEPS` steps."""
    config, settings = stage.parts.config, stage.settings
    steps = min(config.num_inference_steps, PREVIEW_STEPS)
    height, width = settings.patch or (settings.height, settings.width)
    return config.replaced(num_frames=num_frames, height=height, width=width, num_inference_steps=steps)


def prompts_of(stage: DenoisingStage) -> tuple[str, ...]:
    """The prompts that were asked for, or the captions of the first clips."""
    return stage.settings.prompts or tuple(dict.fromkeys(clip.caption for clip in stage.sample_clips))


def embedded(stage: DenoisingStage, model: Denoiser, prompt: str, config: StageConfig) -> TextCondition:
    """A prompt and the stage's negative prompt, by the text encoder as it is now."""
    encoder = stage.parts.text_encoder
    if model.text_model is not None:
        encoder = TextEncoder(encoder.tokenizer, model.text_model)
    states = encoder.encode([prompt + config.prompt_suffix, config.negative_prompt])
    return TextCondition.of(states[:1], states[1:])


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


@torch.no_grad()
def decoded(stage: DenoisingStage, latents: Tensor, rounding: str = "nearest") -> np.ndarray:
    """uint8 [frames, height, width, 3] of scaled latents [1, 4, frames, h, w]."""
    video = decode_latents(stage.parts.vae, latents)
    return to_uint8(video[0], rounding).permute(1, 2, 3, 0).cpu().numpy()
