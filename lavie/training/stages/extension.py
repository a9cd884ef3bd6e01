"""The extension stage: the base network with given frames of its clip as a further input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...job import Job
from ...long_video import METHODS
from ...long_video.conditioned import continued
from ...models.latents import encode_video
from ...sampling.conditioning import first_frame_condition, mask_condition
from ..family_file import add_stage
from .denoiser import Denoiser
from .preview import decoded, device_of, embedded, preview_config
from .stage import DenoisingStage

MASKS = ("predict", "transition", "last frame", "scattered")
MAX_TRANSITION_FRAMES = 3
GIVEN_SHARE = 0.25


class Extension(DenoisingStage):
    """Learns clips that continue from their first frame (8 input channels), or fill in what a mask leaves open (9).

    Source: the paper, section 5.6; for the mask form SEINE, sample_scripts/with_mask_sample.py.
    """

    name = "extension"

    def conditioned(self, encoded: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, None]:
        latents = encoded["latents"].float()
        if self.settings.conditioning == "first-frame":
            return first_frame_condition(latents[None, :, :1], latents.shape[1])[0], None
        missing = random_mask(latents.shape[1], generator).to(latents.device)
        return mask_condition(latents[None], missing, self._grey(latents))[0], None

    def _grey(self, latents: Tensor) -> Tensor:
        """What the VAE makes of a grey image of the size of [4, f, h, w]: scaled latents [1, 4, 1, h, w]."""
        factor = 2 ** (len(self.parts.vae.config["block_out_channels"]) - 1)
        height, width = (side * factor for side in latents.shape[2:])
        return encode_video(self.parts.vae, latents.new_zeros(1, 3, 1, height, width))

    def samples(self, model: Denoiser) -> dict[str, np.ndarray]:
        """The first clips again, each from its first frame alone."""
        device, clips = device_of(model), {}
        for seed, clip in enumerate(self.sample_clips):
            latents = self.encoded_sample(clip, device)["latents"].float()
            config = preview_config(self, latents.shape[1])
            job = Job.seeded(model.unet, embedded(self, model, clip.caption, config), config, [seed], device)
            how, first = METHODS["conditioned"].settings(config.clip_frames), latents[None, :, :1]
            made = continued(job, first, latents.shape[1] - 1, how, self._grey(latents))
            clips[clip.caption] = decoded(self, torch.cat((first, made), dim=2))
        return clips

    def save(self, model: Denoiser, folder: Path) -> None:
        """The network; family.json learns of the stage."""
        super().save(model, folder)
        add_stage(folder, self.name, self.parts.family.stage(self.name))


def random_mask(num_frames: int, generator: torch.Generator) -> Tensor:
    """Which frames are to be made, bool [frames]; at least one is given and at least one is not.

    Kinds: the first frames are given, one or more ("predict"); some at both ends ("transition"); the last one; any.
    """

    def draw(most: int) -> int:
        return 1 + int(torch.randint(max(1, most), (), generator=generator))

    kind = MASKS[int(torch.randint(len(MASKS), (), generator=generator))]
    missing = torch.ones(num_frames, dtype=torch.bool)
    if kind == "predict":
        missing[: draw(num_frames // 2)] = False
    elif kind == "transition":
        missing[: draw(min(MAX_TRANSITION_FRAMES, num_frames // 4))] = False
        missing[-draw(min(MAX_TRANSITION_FRAMES, num_frames // 4)) :] = False
    elif kind == "scattered":
        missing &= torch.rand(num_frames, generator=generator) >= GIVEN_SHARE
    if kind == "last frame" or missing.all():
        missing[-1] = False
    if not missing.any():
        missing[1:] = True
    return missing
