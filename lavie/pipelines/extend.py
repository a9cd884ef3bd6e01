"""Longer clips: frames that go on from the last ones, made by the base model."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..sampling import Known, TextCondition, denoise, guided
from .output import Callback
from .request import check_latents, check_num_frames
from .sample import checked_seeds, counted, schedule_of, stored_noise

WINDOW = 16  # frames that LaVie's base model was trained on


def sample_extension(
    unet: VideoUNet,
    text: TextCondition,
    latents: Tensor,
    config: StageConfig,
    seed: int,
    *,
    device: torch.device,
    num_frames: int,
    context_frames: int,
    resample: int = 1,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Scaled latents [batch, 4, F, h, w] and `num_frames` frames more: [batch, 4, F + num_frames, h, w].

    The base model makes its usual clip, of which the first frames are known (see `Known`). Where more frames are
    wanted than fit in one clip, the last ones made are known to the next. The given frames come back as they are.

    Args:
        config: of the base stage; its `num_frames` is the length of a clip, known frames included.
        seed: of the first clip of the batch; the next one has the next seed.
        context_frames: how many of the last frames are known.
        resample: how often every step is done, so that the new frames fit the known ones better; see `denoise`.
        split: evaluate the two halves of the guidance in turn; see `guided`.

    Raises:
        UsageError: a setting that cannot work.
    """
    check_latents(latents, len(latents))
    given, window = latents.shape[2], config.num_frames or WINDOW
    check_num_frames(num_frames)
    check_num_frames(given + num_frames)
    rounds = extension_rounds(given, num_frames, context_frames, window)
    generators = checked_seeds([(seed + clip) % 2**64 for clip in range(len(latents))])
    _, after_step = counted(callback, "extension", len(rounds) * config.num_inference_steps * resample)
    predict = guided(unet, text, config.guidance_scale, split=split, device=device)
    for context, new in rounds:
        noise = stored_noise((4, context + new, *latents.shape[3:]), generators, device)
        known = _first_frames(latents[:, :, -context:], new)
        made = denoise(predict, noise, schedule_of(config), generators, after_step, known=known, resample=resample)
        latents = torch.cat((latents, made[:, :, context:].to(latents)), dim=2)
    return latents


def extension_rounds(given: int, num_frames: int, context_frames: int, window: int) -> list[tuple[int, int]]:
    """(known, new) frames of every clip that the model makes; a last one with little to add knows more frames.

    So all clips are as long as the model is used to, unless one holds all that is wanted.
    """
    if not 1 <= context_frames < window:
        raise UsageError(f"The context must be between 1 and {window - 1} frames, not {context_frames}.")
    if context_frames > given:
        raise UsageError(f"The context is {context_frames} frames, but the clip has only {given}.")
    most = window - context_frames
    rounds = [(context_frames, most)] * (num_frames // most)
    left = num_frames % most
    if left:
        rounds.append((window - left if rounds else context_frames, left))
    return rounds


def _first_frames(latents: Tensor, new: int) -> Known:
    """The latents followed by `new` frames to be made."""
    batch, channels, context, height, width = latents.shape
    to_be_made = latents.new_zeros(batch, channels, new, height, width)
    mask = (torch.arange(context + new, device=latents.device) >= context).float()
    return Known(torch.cat((latents, to_be_made), dim=2), mask[None, None, :, None, None])
