"""ControlNets and T2I-Adapters: diffusers' modules, read from files in all usual forms, for one of LaVie's UNets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..errors import LavieError
from ..models import UNetConfig
from ..models.residuals import Residuals
from ..models.restore import read_folder, restore
from ..models.unet import skip_channels
from ..tensor_files import read_checkpoint
from .names import CONTROL_NET, OF_FILE, adapter_names, control_net_names

if TYPE_CHECKING:
    from diffusers.models.adapter import T2IAdapter
    from diffusers.models.controlnets.controlnet import ControlNetModel

TAKES = "LaVie takes ControlNets and T2I-Adapters made for Stable Diffusion 1.x."
SHUFFLE = re.compile(r"_shuffle(_fp16)?$")  # the name of the one ControlNet whose feature maps are averaged


class ControlNet(nn.Module):
    """A ControlNet: what it adds depends on the noisy image, the noise level and the text, too."""

    def __init__(self, model: ControlNetModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, hint: Tensor) -> Residuals:
        """What it adds.

        Args:
            latents: [images, 4, h, w]. timesteps: [images]. text: [images, tokens, channels]. hint: [images, 3, 8 h,
                8 w], in 0…1.
        """
        dtype = self.model.dtype
        skips, middle = self.model(latents.to(dtype), timesteps, text.to(dtype), hint.to(dtype), return_dict=False)
        return Residuals(tuple(skips), middle)


class Adapter(nn.Module):
    """A T2I-Adapter: what it adds depends on its hint alone."""

    def __init__(self, model: T2IAdapter, layers_per_block: int) -> None:
        super().__init__()
        self.model, self.layers = model, layers_per_block
        self.channels = int(model.config["in_channels"])

    def forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, hint: Tensor) -> Residuals:
        """As `ControlNet.forward`."""
        if self.channels == 1:
            hint = hint.mean(1, keepdim=True)
        features = self.model(hint.to(self.model.dtype))
        before = (None,) * self.layers
        return Residuals(inputs=tuple(part for feature in features for part in (*before, feature)))


def read_network(path: str | Path, config: UNetConfig, **where: Any) -> ControlNet | Adapter:
    """A ControlNet or T2I-Adapter from a file or a diffusers folder, for a UNet of this config.

    Args:
        where: dtype and device.

    Raises:
        LavieError: the file is missing, damaged, of another kind, or made for another model.
    """
    path = Path(path)
    given, tensors = read_folder(path, "ControlNet") if path.is_dir() else ({}, read_checkpoint(path).tensors)
    averaged = bool(given.get("global_pool_conditions", SHUFFLE.search(path.stem)))
    network = network_of(tensors, config, path.name, {**given, "global_pool_conditions": averaged}, **where)
    if not all(weight.isfinite().all() for weight in network.parameters()):
        raise LavieError(f"{path.name} holds invalid numbers (NaN or infinite): get it again, or another one.")
    return network


def network_of(
    tensors: Mapping[str, Tensor], config: UNetConfig, title: str, given: Mapping[str, Any] | None = None, **where: Any
) -> ControlNet | Adapter:
    """See `read_network`. given: a config of diffusers that says what tensors cannot."""
    names = set(tensors)
    if names & {CONTROL_NET, f"{OF_FILE}zero_convs.0.0.weight", "zero_convs.0.0.weight"}:
        return _control_net(control_net_names(tensors), config, title, given or {}, **where)
    if names & {"body.0.block1.weight", "body.0.in_conv.weight"} or any(
        name.startswith("adapter.body.") for name in names
    ):
        return _adapter(adapter_names(tensors), config, title, **where)
    from ..checkpoints.detect import detect

    what = "a Control-LoRA" if "lora_controlnet" in names else detect(tensors).title
    raise LavieError(f"{title} seems to be {what}. {TAKES}")


def _control_net(
    tensors: dict[str, Tensor], config: UNetConfig, title: str, given: Mapping[str, Any], **where: Any
) -> ControlNet:
    if "difference" in tensors:
        raise LavieError(f"{title} holds a ControlNet's difference to a base model. Get the whole ControlNet.")
    widths = [tensors[name].shape[0] for name in _counted("controlnet_down_blocks.{}.weight", tensors)]
    reads = next((each.shape[1] for name, each in tensors.items() if name.endswith("attn2.to_k.weight")), None)
    _require_fitting(widths, skip_channels(config), reads, config, title)
    hints = [tensors[CONTROL_NET].shape[0]]
    hints += [tensors[n].shape[0] for n in _counted("controlnet_cond_embedding.blocks.{}.weight", tensors)[1::2]]

    def build() -> ControlNetModel:
        import diffusers  # whose submodules move between versions

        return diffusers.ControlNetModel(  # pyright: ignore[reportPrivateImportUsage]
            conditioning_channels=tensors[CONTROL_NET].shape[1],
            down_block_types=tuple(kind.replace("3D", "2D") for kind in config.down_block_types),
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            norm_num_groups=config.norm_num_groups,
            norm_eps=config.norm_eps,
            cross_attention_dim=config.cross_attention_dim,
            attention_head_dim=config.attention_head_dim,
            use_linear_projection=config.use_linear_projection,
            controlnet_conditioning_channel_order=given.get("controlnet_conditioning_channel_order", "rgb"),
            conditioning_embedding_out_channels=tuple(hints),
            global_pool_conditions=bool(given.get("global_pool_conditions")),
        )

    return ControlNet(restore(build, tensors, title, **where)).eval().requires_grad_(False)


def _adapter(tensors: dict[str, Tensor], config: UNetConfig, title: str, **where: Any) -> Adapter:
    light = "adapter.conv_in.weight" not in tensors
    first = tensors.get("adapter.body.0.in_conv.weight" if light else "adapter.conv_in.weight")
    last = "adapter.body.{}.out_conv.weight" if light else "adapter.body.{}.resnets.0.block2.weight"
    widths = [tensors[name].shape[0] for name in _counted(last, tensors)]
    if first is None or first.shape[1] not in (64, 192):
        raise LavieError(f"{title} is a T2I-Adapter for Stable Diffusion XL or of an unknown form. {TAKES}")
    _require_fitting(widths, list(config.block_out_channels), None, config, title)
    residuals = len(_counted("adapter.body.0.resnets.{}.block1.weight", tensors))

    def build() -> T2IAdapter:
        import diffusers

        channels = widths[:-1] if light else widths
        kind = "light_adapter" if light else "full_adapter"
        return diffusers.T2IAdapter(first.shape[1] // 64, channels, residuals, 8, kind)  # pyright: ignore[reportPrivateImportUsage]

    network = restore(build, tensors, title, **where)
    return Adapter(network, config.layers_per_block).eval().requires_grad_(False)


def _require_fitting(widths: list[int], own: list[int], reads: int | None, config: UNetConfig, title: str) -> None:
    if widths == own and reads in (None, config.cross_attention_dim):
        return
    kinds = {2048: "Stable Diffusion XL", 1024: "Stable Diffusion 2"}
    if reads in kinds or set(widths) == set(own):
        raise LavieError(f"{title} was made for {kinds.get(reads or 0, 'another kind of model')}. {TAKES}")
    has, needs = (", ".join(map(str, dict.fromkeys(each))) for each in (widths, own))
    raise LavieError(
        f"{title} is for networks of the widths {has}; this model has {needs}. Those for Stable Diffusion 1.x fit the "
        "released models, not lavie-tiny."
    )


def _counted(pattern: str, tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of this pattern, from 0 on, as far as there are any."""
    names, number = [], 0
    while pattern.format(number) in tensors:
        names.append(pattern.format(number))
        number += 1
    return names
