"""LoRAs on a network's weights: strengths change in place, and removing them leaves no trace."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import LavieError, UsageError
from .blocks import BlockStrengths
from .convert import temporal_layers, to_kohya
from .delta import Parts, changed, changed_bias
from .names import is_temporal
from .read import read_lora
from .steps import StepStrengths

MAX_STRENGTH = 20.0
_BIASES = ("diff_b",)


@dataclass(frozen=True)
class Lora:
    """A LoRA and its strengths: `strength` on the video UNet, `text_strength` on the text encoder.

    layers: {layer in kohya's spelling: its parts}. temporal: the temporal layers, which are left out. blocks: factors
    per block. steps: factors on the UNet over the denoising steps.
    """

    name: str
    layers: dict[str, Parts]
    strength: float = 1.0
    text_strength: float = 1.0
    temporal: tuple[str, ...] = ()
    blocks: BlockStrengths = field(default_factory=BlockStrengths)
    steps: StepStrengths = field(default_factory=StepStrengths)

    def __post_init__(self) -> None:
        for strength in (self.strength, self.text_strength):
            if not math.isfinite(strength) or abs(strength) > MAX_STRENGTH:
                raise UsageError(
                    f"The strength of {self.name} must be between -{MAX_STRENGTH:g} and {MAX_STRENGTH:g}, not "
                    f"{strength:g}."
                )

    @classmethod
    def read(
        cls,
        path: str | Path,
        strength: float = 1.0,
        text_strength: float | None = None,
        blocks: str = "",
        steps: str = "",
    ) -> Lora:
        """Read a file or folder in any spelling. By default the text strength equals the strength.

        blocks, steps: as `BlockStrengths.parse` and `StepStrengths.parse` read them.

        Raises:
            LavieError: missing, damaged, no LoRA, or one for another model.
            UsageError: a strength beyond ±20, blocks or steps that cannot be understood.
        """
        path = Path(path)
        tensors = read_lora(path)
        layers: dict[str, dict[str, Tensor]] = {}
        for name, tensor in to_kohya(tensors).items():
            layer, _, part = name.partition(".")
            layers.setdefault(layer, {})[part] = tensor
        text_strength = strength if text_strength is None else text_strength
        temporal = tuple(temporal_layers(tensors))
        factors = BlockStrengths.parse(blocks), StepStrengths.parse(steps)
        return cls(path.name, {**layers}, strength, text_strength, temporal, *factors)

    def metadata(self) -> dict[str, Any]:
        """Its name and strengths, for the metadata of a video."""
        strengths = {"name": self.name, "strength": self.strength, "text_strength": self.text_strength}
        blocks, steps = dict(self.blocks.values), [list(point) for point in self.steps.points]
        return strengths | ({"blocks": blocks} if blocks else {}) | ({"steps": steps} if steps else {})

    def strength_of(self, layer: str, timestep: float | None = None) -> float:
        """The strength on one of its layers; without a timestep the factors over the steps are ignored."""
        if layer.startswith("lora_te_"):
            return self.text_strength * self.blocks.of(layer)
        return self.strength * self.blocks.of(layer) * (1.0 if timestep is None else self.steps.at(timestep))


@dataclass(frozen=True)
class Applied:
    """The result for one LoRA: how many layers it changed, and the names of those that do not fit the model."""

    name: str
    layers: int
    left: tuple[str, ...]


class LoraStack:
    """The LoRAs on a UNet and its text encoder, as last `set`.

    Weights are computed from untouched copies every time and written in place. So neither the order nor the number of
    changes matters, nothing is reloaded, and a compiled network stays compiled. Only changed layers are stored twice.
    Strengths that change over the steps are updated when the UNet is called.
    """

    def __init__(self, unet: nn.Module, text_model: nn.Module | None = None) -> None:
        self._layers = spatial_layers(unet)
        if text_model is not None:
            for name, module in _weighted(text_model):
                name = name if name.startswith("text_model.") else f"text_model.{name}"
                self._layers[f"lora_te_{_flat(name)}"] = module
        self._untouched: dict[str, dict[str, Tensor]] = {}
        self._unet, self._watch = unet, None

    @torch.no_grad()
    def set(self, loras: Sequence[Lora]) -> list[Applied]:
        """Apply exactly these LoRAs, one after another; with none, the weights are restored bit for bit.

        Raises:
            LavieError: a LoRA fits no layer, or one of its layers is of another size; the weights stay as they were.
        """
        reports = [self._report(lora) for lora in loras]
        weights = {layer: self._weights(layer, loras) for layer in self._touched(loras)}
        for layer in set(self._untouched) - set(weights):
            self._write(layer, self._untouched.pop(layer))
        for layer, tensors in weights.items():
            self._untouched.setdefault(layer, self._originals(layer))
            self._write(layer, tensors)
        self._follow_steps(loras)
        return reports

    def _follow_steps(self, loras: Sequence[Lora]) -> None:
        """Before every call of the UNet, write the weights for its timestep if they differ."""
        if self._watch is not None:
            self._watch.remove()
            self._watch = None
        changing = [lora for lora in loras if lora.steps.points]
        layers = [layer for layer in self._touched(changing) if not layer.startswith("lora_te_")]
        if not layers:
            return
        current: list[float] = []

        @torch.no_grad()
        def bring_up_to_date(_unet: nn.Module, args: tuple, kwargs: dict) -> None:
            timestep = _latest(kwargs["timesteps"] if "timesteps" in kwargs else args[1])
            factors = [lora.steps.at(timestep) for lora in changing]
            if factors != current:
                current[:] = factors
                for layer in layers:
                    self._write(layer, self._weights(layer, loras, timestep))

        self._watch = self._unet.register_forward_pre_hook(bring_up_to_date, with_kwargs=True)

    def _touched(self, loras: Iterable[Lora]) -> set[str]:
        return {layer for lora in loras for layer in lora.layers if layer in self._layers and lora.strength_of(layer)}

    def _report(self, lora: Lora) -> Applied:
        left = tuple(sorted(layer for layer in lora.layers if layer not in self._layers))
        if len(left) == len(lora.layers):
            raise LavieError(
                f"{lora.name} fits no layer of this model (it has {left[0]}, …). LoRAs for Stable Diffusion 1.x fit "
                "the released weights; lavie-tiny takes only its own."
            )
        return Applied(lora.name, len(lora.layers) - len(left), left + lora.temporal)

    def _originals(self, layer: str) -> dict[str, Tensor]:
        """Copies of a layer's weight and bias without LoRAs."""
        if layer in self._untouched:
            return self._untouched[layer]
        return {name: tensor.detach().clone() for name, tensor in self._layers[layer].named_parameters(recurse=False)}

    def _weights(self, layer: str, loras: Sequence[Lora], timestep: float | None = None) -> dict[str, Tensor]:
        originals = self._originals(layer)
        tensors = dict(originals)
        for lora in loras:
            parts, strength = lora.layers.get(layer), lora.strength_of(layer, timestep)
            if parts is None or not strength:
                continue
            try:
                if set(parts) - set(_BIASES):
                    tensors["weight"] = changed(tensors["weight"], parts, strength)
                if "bias" in tensors:
                    tensors["bias"] = changed_bias(tensors["bias"], parts, strength)
            except LavieError as error:
                raise LavieError(f"{lora.name} does not fit this model at {layer}: {error}") from error
        tensors = {name: tensor.to(originals[name].dtype) for name, tensor in tensors.items()}
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise LavieError(f"With these LoRAs the weights of {layer} overflow: lower their strengths.")
        return tensors

    def _write(self, layer: str, tensors: dict[str, Tensor]) -> None:
        for name, parameter in self._layers[layer].named_parameters(recurse=False):
            parameter.data.copy_(tensors[name])


def _latest(timesteps: Tensor | float) -> float:
    """The noisiest of a call's timesteps: if frames differ, that of the new frames, not of the given ones."""
    return float(timesteps.max()) if isinstance(timesteps, Tensor) else float(timesteps)


def spatial_layers(unet: nn.Module) -> dict[str, nn.Module]:
    """The layers that a LoRA may change, under kohya's names: all spatial layers with a weight."""
    return {f"lora_unet_{_flat(name)}": module for name, module in _weighted(unet) if not is_temporal(name)}


def _weighted(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules with their own weight; token embeddings are never part of a LoRA."""
    modules = ((name, module) for name, module in network.named_modules() if not isinstance(module, nn.Embedding))
    return [(name, module) for name, module in modules if isinstance(getattr(module, "weight", None), nn.Parameter)]


def _flat(name: str) -> str:
    return name.replace(".", "_")
