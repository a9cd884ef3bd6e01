"""PEFT's adapters in the UNet and the text encoder, and the file that they are saved to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...lora.names import ALPHA
from ...models import VideoUNet
from ..freezing import inject_adapters, lora_state_dict
from ..layers import TARGETS, TEXT_TARGETS
from .settings import LoraSettings

if TYPE_CHECKING:
    from .job import LoraJob


def add_adapters(unet: nn.Module, text_model: nn.Module, settings: LoraSettings, seed: int) -> None:
    """Put adapters into both, in place; only they are trained, and at first they change nothing.

    Raises:
        LavieError: PEFT is not installed.
    """
    text_model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapters(unet, TARGETS[settings.targets], settings.rank, settings.scale)
        if settings.train_text:
            inject_adapters(text_model, TEXT_TARGETS, settings.rank, settings.scale)


def halve_frozen(model: nn.Module, dtype: torch.dtype) -> None:
    """Store the frozen weights in half precision, in place, which halves their memory."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


def lora_tensors(unet: VideoUNet, text_model: nn.Module | None, settings: LoraSettings) -> dict[str, Tensor]:
    """The adapters alone, float16 under kohya's names, with their alphas."""
    kohya = lora_state_dict(unet, text_model)
    alphas = {name: torch.tensor(settings.scale) for name in kohya if name.endswith(ALPHA)}
    return {name: tensor.half().cpu().contiguous() for name, tensor in sorted((kohya | alphas).items())}


def metadata(job: LoraJob, steps: int, captions: Sequence[str]) -> dict[str, str]:
    """The metadata that kohya's scripts, A1111 and ComfyUI's model pages read from a LoRA file. steps: how many were
    done."""
    settings, loop, size = job.settings, job.loop, job.size
    tags = Counter(tag.strip() for caption in captions for tag in caption.split(",") if tag.strip())
    rate, now = str(loop.learning_rate), datetime.now(timezone.utc)
    values: Mapping[str, object] = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": settings.rank,
        "ss_network_alpha": settings.scale,
        "ss_network_args": json.dumps({"targets": settings.targets}),
        "ss_base_model_version": "sd_v1",
        "ss_sd_model_name": job.family.name,
        "ss_output_name": job.output.stem,
        "ss_unet_lr": rate,
        "ss_text_encoder_lr": rate if settings.train_text else "None",
        "ss_learning_rate": rate,
        "ss_optimizer": loop.optimizer,
        "ss_lr_scheduler": loop.schedule,
        "ss_lr_warmup_steps": loop.warmup,
        "ss_max_train_steps": loop.steps,
        "ss_steps": steps,
        "ss_batch_size_per_device": loop.batch_size,
        "ss_seed": loop.seed,
        "ss_mixed_precision": loop.mixed_precision,
        "ss_gradient_checkpointing": loop.gradient_checkpointing,
        "ss_num_train_images": len(captions),
        "ss_num_reg_images": settings.prior_images,
        "ss_prior_loss_weight": settings.prior_weight,
        "ss_resolution": f"({size[1]}, {size[0]})",
        "ss_tag_frequency": json.dumps({"images": dict(tags)}),
        "ss_training_finished_at": now.timestamp(),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": job.output.stem,
        "modelspec.date": now.strftime("%Y-%m-%dT%H:%M:%S"),
        "modelspec.resolution": f"{size[1]}x{size[0]}",
        "modelspec.trigger_phrase": settings.trigger,
    }
    return {key: str(value) for key, value in values.items()}
