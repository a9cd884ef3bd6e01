"""What all stages have in common: from examples to noisy latents, a prediction, and its loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

from ...checkpoints import save_unet
from ...checkpoints.save import write_safetensors
from ...models.latents import encode_video
from ...sampling.schedule import NUM_TRAIN_TIMESTEPS
from ..data.clip import Clip
from ..data.dataset import Example
from ..data.randomness import generator_of
from ..freezing import has_adapters, lora_state_dict, merged
from ..objective import add_noise, anchored_timesteps, example_errors, frame_timesteps, joint_errors, joint_loss, target
from ..settings import StageSettings
from .denoiser import Batch, Denoiser, Prepared
from .parts import StageNetworks


class DenoisingStage(ABC):
    """A stage of LaVie that learns to denoise; `lavie.training.loop` drives it.

    All random numbers come from an example's own generator, on the CPU and in a fixed order, so the split of examples
    over processes and micro-batches changes nothing.
    """

    name: ClassVar[str]

    def __init__(self, model: Denoiser, parts: StageNetworks, settings: StageSettings) -> None:
        self.model = model
        self.parts = parts
        self.settings = settings
        self.sample_clips: tuple[Clip, ...] = ()

    # -- what differs ------------------------------------------------------------------------------------------------

    def encode(self, clip: Clip, generator: torch.Generator) -> dict[str, Tensor]:
        """What the network needs of a clip: scaled "latents" [4, f, h, w], and its "mask" [1, f, h, w] if it has one.

        A clip that was encoded before comes back as it is.
        """
        if "latents" in clip.tensors:
            return clip.tensors
        video = clip.tensors["video"]
        encoded = {"latents": encode_video(self.parts.vae, video[None])[0]}
        if "mask" in clip.tensors:
            encoded["mask"] = pooled(clip.tensors["mask"], video.shape[-1] // encoded["latents"].shape[-1])
        return encoded

    def conditioned(self, encoded: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor | None, int | None]:
        """What the network is given besides noise: channels [c, f, h, w], and the noise level."""
        return None, None

    def truth(self, batch: Batch, sample: Tensor, levels: Tensor) -> Tensor:
        """What the network is to predict of the noisy sample [batch, channels, T + M, h, w], whose frames have these
        noise levels [batch, T + M]."""
        return target(batch.latents, batch.noise, levels, self.parts.config.prediction_type)

    # -- what the loop calls -----------------------------------------------------------------------------------------

    def loss(self, model: nn.Module, examples: list[Example]) -> dict[str, Tensor]:
        """Means over the examples: "video", with images "image", and "total" = video + α image."""
        device = next(model.parameters()).device
        self.parts.to(device)
        batch = Batch.of([self._prepared(example, device) for example in examples], device)
        return self._loss_of(model, batch)

    @abstractmethod
    def samples(self, model: Denoiser) -> dict[str, np.ndarray]:
        """A few clips as the stage makes them now: uint8 [frames, height, width, 3] by prompt."""

    def save(self, model: Denoiser, folder: Path) -> None:
        """Writes the stage's network into the family's folder, float16 with its config; a LoRA also on its own."""
        save_unet(merged(model.unet), self.unet_file(folder), dtype=torch.float16, config_file=True)
        if has_adapters(model.unet):
            tensors = {name: tensor.half().cpu() for name, tensor in lora_state_dict(model.unet).items()}
            file = folder / "loras" / f"{self.parts.family.name}-{self.name}.safetensors"
            write_safetensors(tensors, file, {"ss_network_module": "networks.lora", "modelspec.title": file.stem})

    def unet_file(self, folder: Path) -> Path:
        path = folder / self.parts.config.unet
        return path if path.suffix else path / "model.safetensors"

    def encoded_sample(self, clip: Clip, device: torch.device) -> dict[str, Tensor]:
        """A clip of the samples, encoded the same way every time."""
        self.parts.to(device)
        return self.encode(on_device(clip, device), generator_of("sample", clip.name))

    # -- inside ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _prepared(self, example: Example, device: torch.device) -> Prepared:
        generator = example.generator()
        encoded = self.encode(on_device(example.clip, device), generator)
        images = [self.encode(on_device(image, device), generator) for image in example.images]
        latents = torch.cat([part["latents"].float() for part in (encoded, *images)], dim=1)
        condition, label = self.conditioned(encoded, generator)
        clips = (example.clip, *example.images)
        dropped = torch.rand(len(clips), generator=generator) < self.settings.text_dropout
        captions = tuple("" if drop else clip.caption for clip, drop in zip(clips, dropped.tolist(), strict=True))
        return Prepared(
            latents=latents,
            timesteps=self._timesteps(clips, latents.shape[1], generator),
            noise=torch.randn(latents.shape, generator=generator),
            captions=captions,
            teacher_caption="" if dropped[0] and example.clip.teacher_caption else example.clip.teacher_caption,
            condition=condition,
            label=label,
            mask_weights=self._mask_weights([encoded, *images]),
            text=self._precomputed_text(clips, dropped),
        )

    def _timesteps(self, clips: Sequence[Clip], frames: int, generator: torch.Generator) -> Tensor:
        """Noise levels int64 [1 + M], or [T + M] in a run that anchors some of its clips; clips: one and M images."""
        least, most = torch.tensor([(each.min_timestep, each.max_timestep) for each in clips]).T
        drawn = torch.randint(NUM_TRAIN_TIMESTEPS, (len(clips),), generator=generator)
        timesteps = least + drawn * (most - least) // NUM_TRAIN_TIMESTEPS
        if not self.settings.anchor_share:
            return timesteps
        clip_frames = frames + 1 - len(clips)
        levels = timesteps[0].repeat(clip_frames)
        if float(torch.rand((), generator=generator)) < self.settings.anchor_share:
            levels = anchored_timesteps(clip_frames, generator)
        return torch.cat((levels, timesteps[1:]))

    def _mask_weights(self, parts: list[dict[str, Tensor]]) -> Tensor | None:
        """1 … `mask_weight` [1, T + M, h, w]; clips without a mask count 1 everywhere."""
        if self.settings.mask_weight == 1:
            return None
        masks = [part["mask"].float() if "mask" in part else torch.zeros_like(part["latents"][:1]) for part in parts]
        return 1 + (self.settings.mask_weight - 1) * torch.cat(masks, dim=1)

    def _precomputed_text(self, clips: tuple[Clip, ...], dropped: Tensor) -> Tensor | None:
        if self.model.text_model is not None or any("text" not in clip.tensors for clip in clips):
            return None
        empty = self.parts.embed((("",),))[0, 0]
        pairs = zip(clips, dropped.tolist(), strict=True)
        rows = [empty if drop else clip.tensors["text"].to(empty) for clip, drop in pairs]
        return torch.stack(rows)

    def _loss_of(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        images, kind = self.settings.images_per_clip, self.parts.config.prediction_type
        frames, timesteps = batch.latents.shape[2], batch.timesteps
        levels = timesteps if timesteps.shape[1] == frames else frame_timesteps(timesteps, frames - images)
        sample = add_noise(batch.latents, batch.noise, levels)
        if batch.condition is not None:
            sample = torch.cat((sample, batch.condition), dim=1)
        timesteps = timesteps[:, 0] if timesteps.shape[1] == 1 else timesteps
        truth = self.truth(batch, sample, levels)
        alone = self.settings.pictures_alone
        prediction = model(sample, timesteps, self._text(batch), batch.labels, 1 if alone else images)
        weighting = self.settings.loss_weight
        if not images:
            error = example_errors(prediction, truth, timesteps, kind, weighting, batch.mask_weights).mean()
            return {"total": error, "image" if alone else "video": error}
        errors = joint_errors(prediction, truth, timesteps, images, kind, weighting, batch.mask_weights)
        return joint_loss(*errors, self.settings.image_weight)

    def _text(self, batch: Batch) -> Tensor:
        if batch.text is not None:
            return batch.text
        return self.parts.embed(batch.captions) if self.model.text_model is None else self.parts.tokens(batch.captions)


def pooled(mask: Tensor, factor: int) -> Tensor:
    """How much of each latent pixel a mask [1, f, H, W] covers: [1, f, H / factor, W / factor]."""
    return mask if factor == 1 else avg_pool3d(mask[None], (1, factor, factor))[0]


def on_device(clip: Clip, device: torch.device) -> Clip:
    return replace(clip, tensors={name: tensor.to(device) for name, tensor in clip.tensors.items()})
