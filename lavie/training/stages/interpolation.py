"""The interpolation stage: every output frame from noise and the key frame nearest to it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...errors import UsageError
from ...job import Job
from ...pipelines.interpolate import FACTOR, sample_interpolation
from ...sampling.conditioning import key_frame_of
from .denoiser import Denoiser
from .preview import decoded, device_of, embedded, preview_config
from .stage import DenoisingStage


class Interpolation(DenoisingStage):
    """Clips of 4n + 1 frames from noise and every fourth frame, repeated; the loss counts all frames.

    Source: the paper, section 4.2; interpolation/sample.py, auto_inpainting_copy_no_mask.
    """

    name = "interpolation"

    def conditioned(self, encoded: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, None]:
        return between(encoded["latents"].float()), None

    def samples(self, model: Denoiser) -> dict[str, np.ndarray]:
        """The first clips again, from their own key frames."""
        config, clips = preview_config(self), {}
        for seed, clip in enumerate(self.sample_clips):
            latents = self.encoded_sample(clip, device_of(model))["latents"].float()
            text = embedded(self, model, clip.caption, config)
            job = Job.seeded(model.unet, text, config, [seed], device_of(model))
            made = sample_interpolation(job, latents[None, :, ::FACTOR])
            clips[clip.caption] = decoded(self, made)
        return clips


def between(latents: Tensor) -> Tensor:
    """The key frames of scaled latents [4, frames, h, w], each repeated where it is nearest; the same shape."""
    return latents[:, ::FACTOR][:, key_frame_of(latents.shape[1])]


def check_frames(frames: tuple[int, ...]) -> None:
    """Refuse clip lengths that do not end on a key frame."""
    wrong = [count for count in frames if count < FACTOR + 1 or count % FACTOR != 1]
    if wrong:
        raise UsageError(f"--frames of the interpolation stage must be 5, 9, 13, … (4n + 1), not {wrong[0]}.")
