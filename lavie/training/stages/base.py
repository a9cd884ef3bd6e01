"""The base stage: text to a short clip, learned from clips and images together."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np

from ...job import Job
from ...models.text_encoder import save_text_model
from ...pipelines.text_to_video import sample_text_to_video
from .denoiser import Denoiser
from .preview import decoded, device_of, embedded, preview_config, prompts_of
from .stage import DenoisingStage


class Base(DenoisingStage):
    """Learns to turn noise into clips by their captions, with M images and their captions beside each.

    Source: the paper, section 4, equations 1 and 3.
    """

    name = "base"

    def samples(self, model: Denoiser) -> dict[str, np.ndarray]:
        """A clip for each of a few prompts, always from the same noise."""
        config = preview_config(self, max(self.settings.frames))
        clips = {}
        for seed, prompt in enumerate(prompts_of(self)):
            text = embedded(self, model, prompt, config)
            job = Job.seeded(model.unet, text, config, [seed], device_of(model))
            clips[prompt] = decoded(self, sample_text_to_video(job))
        return clips

    def save(self, model: Denoiser, folder: Path) -> None:
        """Write the network, and the text encoder if it was trained or is not the family's own."""
        super().save(model, folder)
        if model.text_model is not None or self.parts.text_is_new:
            learnt = self.parts.text_encoder.model if model.text_model is None else model.text_model
            save_text_model(deepcopy(learnt).half(), folder / self.parts.config.text_encoder)
