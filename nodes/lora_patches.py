"""LoRAs on a MODEL and a CLIP: patched into the weights by the host, or applied beside them if strengths change over
the steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from ..lavie.errors import LavieError
from ..lavie.lora import Lora, spatial_layers
from ..lavie.lora.delta import changed, changed_bias
from ..lavie.models import VideoUNet
from . import host
from .adapters import STEP_LORAS


def add_lora(model: Any, clip: Any, lora: Lora) -> tuple[Any, Any, int, list[str]]:
    """Clones of MODEL and CLIP with a LoRA, the number of layers it changes, and the names of layers that do not fit.

    Raises:
        LavieError: this host cannot patch the model.
    """
    patches = host.comfy("comfy.lora")
    if patches is None or not hasattr(model, "add_patches"):
        raise LavieError("A LoRA needs ComfyUI's patches, which this host does not offer.")
    known = patches.model_lora_keys_unet(model.model, {})
    keys = {name: key for name, key in known.items() if "temp" not in str(key)}  # temporal layers never change
    model, applied = model.clone(), 0
    stepped = _stepped(lora, model.model.diffusion_model)
    if stepped.layers:
        host.require_fitting(model, _patches(stepped, set(stepped.layers), keys))
        options = model.model_options.setdefault("transformer_options", {})
        options[STEP_LORAS] = (*options.get(STEP_LORAS, ()), StepLora(stepped))
        applied += len(stepped.layers)
    applied += _patch(model, lora, keys, set(lora.layers) - set(stepped.layers))
    if clip is not None:
        of_text = patches.model_lora_keys_clip(clip.cond_stage_model, {})
        clip, keys = clip.clone(), {**keys, **of_text}
        applied += _patch(clip, lora, of_text, set(lora.layers))
    return model, clip, applied, sorted(set(lora.layers) - set(keys))


def _stepped(lora: Lora, unet: nn.Module) -> Lora:
    """The LoRA with only those layers that are added beside the weights, because their strength changes over the
    steps."""
    changing = {name for name, layer in spatial_layers(unet).items() if lora.steps.points and takes_steps(layer)}
    return replace(lora, layers={name: parts for name, parts in lora.layers.items() if name in changing})


def _patch(patcher: Any, lora: Lora, keys: dict[str, Any], layers: set[str]) -> int:
    """Patch these layers of a LoRA, each with its strength; returns how many."""
    strengths: dict[float, set[str]] = {}
    for layer in layers & set(keys):
        strengths.setdefault(lora.strength_of(layer), set()).add(layer)
    patched: set[str] = set()
    for strength, of_strength in strengths.items():
        patches = _patches(lora, of_strength, keys)
        if patches:
            patched |= set(patcher.add_patches(patches, strength))
    return len(patched)


def _patches(lora: Lora, layers: set[str], keys: dict[str, Any]) -> dict[str, Any]:
    """These layers of a LoRA in the form of the host's weight patches."""
    tensors = {f"{name}.{part}": tensor for name in layers for part, tensor in lora.layers[name].items()}
    return host.required("comfy.lora").load_lora(tensors, keys, log_missing=False)


def takes_steps(layer: nn.Module) -> bool:
    """Whether a LoRA's change of this layer can be added beside its weights."""
    return isinstance(layer, (nn.Linear, nn.Conv2d))


class StepLora:
    """One LoRA on suitable layers (`takes_steps`), and what it adds to them, computed when first needed."""

    def __init__(self, lora: Lora) -> None:
        self.lora = lora
        self._changes: dict[str, tuple[Tensor, Tensor | None]] = {}

    @contextlib.contextmanager
    def on(self, unet: VideoUNet, timestep: float) -> Iterator[None]:
        """A context in which the UNet's layers give their output with the LoRA, at its strength for this timestep."""
        hooks = []
        for name, layer in spatial_layers(unet).items():
            strength = self.lora.strength_of(name, timestep) if name in self.lora.layers else 0.0
            if strength:
                hooks.append(layer.register_forward_hook(self._adding(name, strength)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _adding(self, name: str, strength: float) -> Callable[[nn.Module, tuple, Tensor], Tensor]:
        def hook(layer: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
            assert isinstance(layer, (nn.Linear, nn.Conv2d)), "`takes_steps` allows no others"
            weight, bias = self._change(name, layer)
            weight, bias = weight.to(output), None if bias is None else bias.to(output)
            x = inputs[0].to(output.dtype)
            if isinstance(layer, nn.Conv2d):
                added = conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)
            else:
                added = linear(x, weight, bias)
            return output + strength * added

        return hook

    @torch.no_grad()
    def _change(self, name: str, layer: nn.Linear | nn.Conv2d) -> tuple[Tensor, Tensor | None]:
        if name not in self._changes:
            parts, weight, bias = self.lora.layers[name], host.own_weight(layer), layer.bias
            whole = set(parts) - {"diff_b"}
            change = changed(weight, parts, 1.0) - weight if whole else torch.zeros_like(weight)
            of_bias = None
            if bias is not None and "diff_b" in parts:
                of_bias = changed_bias(torch.zeros_like(bias), parts, 1.0).cpu()
            self._changes[name] = change.cpu(), of_bias
        return self._changes[name]
