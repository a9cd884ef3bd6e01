"""Which weights are trained: the schemes that the paper compares in section 5.5, as one option.

"all" weights; the "temporal" ones, which the image model lacks (`is_temporal`: in every stage the temporal attention
and its norm; in the upscaler also the temporal resnets and the modules after the blocks, whose spatial resnets and last
convolutions are new with them); the "spatial" ones, which are all others; or "spatial-lora", low-rank changes of the
spatial and text attention and the feed-forward while all else, motion too, stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..lora import to_kohya
from ..lora.names import is_temporal
from ..models import VideoUNet, build_unet
from .layers import SPATIAL_LAYERS
from .packages import check_packages
from .settings import SCHEMES

_WITHIN = ".base_layer."  # where PEFT keeps the weights of a layer that it wraps


def apply_scheme(unet: VideoUNet, train: str, rank: int = 16) -> VideoUNet:
    """Set which parameters of the UNet need gradients; "spatial-lora" puts adapters of that rank into it, in place.

    Raises:
        UsageError: no such scheme; else as in `inject_adapters`.
    """
    if train not in SCHEMES:
        raise UsageError(f"Unknown training scheme '{train}'. Choose {', '.join(SCHEMES)}.")
    if train == "spatial-lora":
        inject_adapters(unet, SPATIAL_LAYERS, rank, alpha=rank)
        return unet
    for name, parameter in unet.named_parameters():
        parameter.requires_grad_(train == "all" or is_temporal(name) == (train == "temporal"))
    return unet


def has_adapters(unet: VideoUNet) -> bool:
    """Whether `apply_scheme` put adapters into this UNet."""
    return any(_WITHIN in name for name, _ in unet.named_parameters())


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Within the block, the model is as it was before it got adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@torch.no_grad()
def merged(unet: VideoUNet) -> VideoUNet:
    """A plain UNet with the adapters' changes in its weights; the UNet itself if there are none."""
    if not has_adapters(unet):
        return unet
    tensors = {name.replace(_WITHIN, "."): value for name, value in unet.state_dict().items() if "lora_" not in name}
    layers: dict[str, Any] = {name: layer for name, layer in unet.named_modules() if hasattr(layer, "get_delta_weight")}
    for name, layer in layers.items():
        (adapter,) = layer.active_adapters
        tensors[f"{name}.weight"] = tensors[f"{name}.weight"] + layer.get_delta_weight(adapter)
    plain = build_unet(unet.config)
    plain.load_state_dict(tensors, strict=True)
    return plain.to(device=unet.conv_in.weight.device, dtype=unet.dtype).train(unet.training)


def lora_state_dict(unet: VideoUNet, text_model: nn.Module | None = None) -> dict[str, Tensor]:
    """The adapters alone, under the names that `lavie.lora` and most other programs read (kohya's).

    Raises:
        UsageError: the UNet has none.
    """
    if not has_adapters(unet):
        raise UsageError("This UNet has no LoRA to save: train it with the scheme 'spatial-lora'.")
    from peft import get_peft_model_state_dict

    tensors = dict(get_peft_model_state_dict(unet))
    if text_model is not None:
        tensors |= {f"text_encoder.{name}": tensor for name, tensor in get_peft_model_state_dict(text_model).items()}
    return to_kohya({name: tensor.detach() for name, tensor in tensors.items()})


def inject_adapters(network: nn.Module, layers: str, rank: int, alpha: float) -> None:
    """Put PEFT's adapters into the layers whose full names match, in place; only they are trained.

    At first they change nothing; their inner weights come from torch's global generator.

    Raises:
        UsageError: a rank below 1.
        LavieError: PEFT is not installed.
    """
    if rank < 1:
        raise UsageError(f"The rank of a LoRA must be at least 1, not {rank}.")
    check_packages("peft")
    from peft import LoraConfig, inject_adapter_in_model

    # PEFT says int, and divides.
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=layers)  # pyright: ignore[reportArgumentType]
    inject_adapter_in_model(config, network)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name)
