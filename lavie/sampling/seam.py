"""The seam where a clip continues another: the network's version of the last frame is not quite that frame."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError

SEAM_FRAMES = 4
RELEASED = 0.45  # share of the steps, at the end, in which known frames are no longer put back


def without_seam(made: Tensor, known: Tensor, seam_frames: int = SEAM_FRAMES) -> Tensor:
    """The clip, following its known frames without a jump.

    What the network made of the last known frame differs a little from it, and the frames after it differ in the same
    way: the difference is subtracted from the first `seam_frames` of them, less from each.

    Args:
        made: latents [batch, channels, frames, height, width]; the first of them are the network's version of `known`.
        known: latents [batch, channels, F, height, width].
        seam_frames: 0 leaves the clip as it is.

    Raises:
        UsageError: fewer than 0.
    """
    check_seam_frames(seam_frames)
    last = known.shape[2] - 1
    difference = known[:, :, -1:].to(made) - made[:, :, last : last + 1]
    after = torch.arange(made.shape[2], device=made.device) - last
    share = (1 - after / (seam_frames + 1)).clamp(min=0) * (after > 0)
    return made + difference * share.to(made)[:, None, None]


def check_seam_frames(seam_frames: int) -> None:
    if seam_frames < 0:
        raise UsageError(f"A seam fades over 0 frames or more, not {seam_frames}.")
