"""Clip after clip with the extension stage: a UNet that sees the end of one clip makes the next."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..checks import check_latents, check_num_frames
from ..errors import UsageError
from ..job import Job
from ..knobs import check_knobs
from ..models import VideoUNet
from ..sampling import Anchor, matched_statistics, motion_bias
from ..sampling.conditioning import first_frame_condition, mask_condition
from ..sampling.seam import without_seam
from ..stages import FIRST_FRAME, MASK
from .settings import LongVideoSettings


def continued(
    job: Job,
    latents: Tensor,
    num_frames: int,
    settings: LongVideoSettings,
    grey: Tensor | None = None,
    first_frame: Tensor | None = None,
) -> Tensor:
    """Continue latents: each recursion shows the network the last `context_frames` latents and drops its own version of
    them.

    The difference of that version fades out over `seam_frames` new frames; 0 gives the recursion of the paper (section
    5.6) and of SEINE. See `Method.continued`; the text of frames that the network does not see is ignored.

    Args:
        job: of the extension stage; its `clip_frames` are the length of a clip, context frames included.
        grey: scaled latents [1, 4, 1, h, w] of mid-grey, for a UNet in the mask form.
        first_frame: scaled latents [batch, 4, 1, h, w] of the video's first frame, for `anchor`; by default the first
            one given.

    Raises:
        UsageError: a setting that cannot work, or a context that the network does not support.
    """
    check_latents(latents, len(job.generators))
    check_knobs(settings)
    check_num_frames(num_frames)
    length, known = job.config.clip_frames, min(settings.context_frames, latents.shape[2])
    context = latents[:, :, -known:]
    job = job.over(latents.shape[2] + num_frames)
    text, last = job.text.at(slice(latents.shape[2] - known, None)), known + num_frames - 1
    new = new_frames(known, length)
    condition = condition_of(job.unet, known, length, grey)
    rounds = -(-num_frames // new)
    _, after_step = job.progress("extension", rounds * job.config.num_inference_steps)
    clips, strategy = [context], motion_bias(settings.motion)
    anchor = Anchor(latents[:, :, :1] if first_frame is None else first_frame, settings.anchor)
    for number in range(rounds):
        noise = job.noise((4, length, *context.shape[3:]))
        end = clips[-1][:, :, -known:].to(noise)
        texts = text.at(torch.arange(number * new, number * new + length).clamp(max=last))
        predict = job.predictor(texts, condition=condition(end), strategy=strategy)
        made = job.denoise(predict, noise, after_step, anchor=anchor)
        made = matched_statistics(made, clips[1], settings.drift_correction) if len(clips) > 1 else made
        clips.append(without_seam(made, end, settings.seam_frames))
    return torch.cat([clip[:, :, known:].to(clips[1]) for clip in clips[1:]], dim=2)[:, :, :num_frames]


def new_frames(context_frames: int, clip_frames: int) -> int:
    """How many frames a recursion adds.

    Raises:
        UsageError: the context leaves no new frames.
    """
    if not 1 <= context_frames < clip_frames:
        raise UsageError(f"The context must be between 1 and {clip_frames - 1} frames, not {context_frames}.")
    return clip_frames - context_frames


def check_context(unet: VideoUNet, context_frames: int, clip_frames: int) -> None:
    """Refuse a context that leaves no new frames, or that the network does not support."""
    new_frames(context_frames, clip_frames)
    if unet.config.in_channels == FIRST_FRAME and context_frames != 1:
        raise UsageError("This model is shown one frame of the clip that it extends: set the context to 1.")


def condition_of(unet: VideoUNet, known: int, clip_frames: int, grey: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The network's extra input channels for the known latents [batch, 4, F, h, w].

    Raises:
        UsageError: the network is not an extension stage, or does not support this context.
    """
    check_context(unet, known, clip_frames)
    channels = unet.config.in_channels
    if channels == FIRST_FRAME:
        return lambda latents: first_frame_condition(latents, clip_frames)
    if channels != MASK or grey is None:
        raise UsageError(
            f"A UNet of {channels} input channels extends no clips: 8 or, with grey latents, 9 are needed."
        )

    def masked(latents: Tensor) -> Tensor:
        missing = torch.arange(clip_frames, device=latents.device) >= known
        place = torch.arange(clip_frames).clamp(max=known - 1)
        return mask_condition(latents[:, :, place], missing, grey.to(latents))

    return masked
