"""The base as the LoRA's stage: from the prior clips it learns its own answer without the LoRA."""

from __future__ import annotations

import torch
from torch import Tensor

from ..freezing import without_adapters
from ..stages import Base
from ..stages.denoiser import Batch


class PersonalisedBase(Base):
    """For a clip with a teacher caption, the target is the base's prediction for that caption.

    On average this equals training on the base's own clips (prior preservation, Ruiz et al. 2022), but without the
    noise: as long as the LoRA changes nothing for such a caption, it learns nothing from it.
    """

    @torch.no_grad()
    def truth(self, batch: Batch, sample: Tensor, levels: Tensor) -> Tensor:
        truth = super().truth(batch, sample, levels).clone()
        said = {row: caption for row, caption in enumerate(batch.teacher_captions) if caption is not None}
        if not said:
            return truth
        frames = truth.shape[2] - self.settings.images_per_clip
        taught, captions = list(said), tuple((caption,) for caption in said.values())
        text = (self.parts.embed if self.model.text_model is None else self.parts.tokens)(captions)
        with without_adapters(self.model):
            alone = int(self.settings.pictures_alone)
            prediction = self.model(sample[taught, :, :frames], levels[taught, 0], text, num_images=alone)
        truth[taught, :, :frames] = prediction.to(truth.dtype)
        return truth
