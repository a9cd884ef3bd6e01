"""Longer clips: frames that go on from the last ones, made by the base model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..sampling import Anchor, Known, StepCallback, TextCondition, livelier, matched_statistics
from ..sampling.anchor import check_anchor
from ..sampling.denoise import check_resample
from ..sampling.guidance import Predict
from ..sampling.seam import RELEASE, SEAM_FRAMES, check_seam_frames, without_seam
from ..sampling.statistics import check_strength
from .output import Callback
from .request import check_latents, check_num_frames, check_texts
from .sample import checked_seeds, counted, denoised, guided_by, stored_noise

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
    drift_correction: float = 0.0,
    anchor: float = 0.0,
    seam_frames: int = SEAM_FRAMES,
    motion: float = 0.0,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Scaled latents [batch, 4, F, h, w] and `num_frames` frames more: [batch, 4, F + num_frames, h, w].

    The base model makes its usual clip, of which the first frames are known (see `Known`). Where more frames are
    wanted than fit in one clip, the last ones made are known to the next. The given frames come back as they are.
    In the last steps the known ones go free: what becomes of them tells by how much the new ones are off.

    Args:
        text: for all frames, or for each of the F + num_frames.
        config: of the base stage; its `num_frames` is the length of a clip, known frames included.
        seed: of the first clip of the batch; the next one has the next seed.
        context_frames: how many of the last frames are known.
        resample: how often every step is done, so that the new frames fit the known ones better; see `denoise`.
        drift_correction: 0…1, how far colours and contrast of new frames are drawn to those of the given clip's first
            window; see `matched_statistics`.
        anchor: 0…1, how long new frames hold on to the colours and the layout of the very first one; see `Anchor`.
        seam_frames: over how many new frames that fades out, see `without_seam`; with 0 nothing goes free, and clips
            go on with a jump.
        motion: how much more new frames change; see `livelier`.
        split: evaluate the two halves of the guidance in turn; see `guided`.

    Raises:
        UsageError: a setting that cannot work.
    """
    check_latents(latents, len(latents))
    given, window = latents.shape[2], config.num_frames or WINDOW
    check_num_frames(num_frames)
    check_num_frames(given + num_frames)
    check_texts(text.frames, given + num_frames)
    fitting = (resample, drift_correction, anchor, seam_frames)
    check_fitting(*fitting)
    rounds = extension_rounds(given, num_frames, context_frames, window)
    generators = checked_seeds([(seed + clip) % 2**64 for clip in range(len(latents))])
    _, after_step = counted(callback, "extension", len(rounds) * config.num_inference_steps * resample)
    strategy = livelier(motion)

    def predict(frames: slice) -> Predict:
        return guided_by(config, unet, text.at(frames), split=split, device=device, strategy=strategy)

    return extended(predict, latents, rounds, config, generators, after_step, device, *fitting)


def extended(
    predict: Callable[[slice], Predict],
    latents: Tensor,
    rounds: list[tuple[int, int]],
    config: StageConfig,
    generators: list[torch.Generator],
    callback: StepCallback | None,
    device: torch.device,
    resample: int = 1,
    drift_correction: float = 0.0,
    anchor: float = 0.0,
    seam_frames: int = SEAM_FRAMES,
    iterations: int = 1,
) -> Tensor:
    """`sample_extension` in the given rounds; predict: for a clip that is these frames of the whole."""
    first, still = latents[:, :, : config.num_frames or WINDOW], Anchor(latents[:, :, :1], anchor)
    for context, new in rounds:
        start = latents.shape[2] - context
        noise = stored_noise((4, context + new, *latents.shape[3:]), generators, device)
        known = latents[:, :, -context:]
        made = denoised(
            predict(slice(start, start + context + new)),
            noise,
            config,
            generators,
            callback,
            _first_frames(known, new),
            resample,
            iterations,
            still,
            RELEASE if seam_frames else 0.0,
        )
        made = without_seam(made, known, seam_frames)
        made = matched_statistics(made[:, :, context:].to(latents), first, drift_correction)
        latents = torch.cat((latents, made), dim=2)
    return latents


def check_fitting(resample: int, drift_correction: float, anchor: float, seam_frames: int) -> None:
    check_resample(resample)
    check_strength(drift_correction)
    check_anchor(anchor)
    check_seam_frames(seam_frames)


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
