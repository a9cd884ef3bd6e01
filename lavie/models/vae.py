"""The image autoencoders (diffusers' AutoencoderKL): f8 of Stable Diffusion 1.x, f4 of the ×4 upscaler."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from ..bounded import flag, real, require_fields, several, whole, word
from ..errors import LavieError
from .restore import read_folder, restore

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

# What the released VAEs have where their tensors cannot tell.
NORM_GROUPS = 32
SCALING_FACTORS = {4: 0.18215, 3: 0.08333}  # by levels; the ×4 upscaler's early config.json lacks its own

_LEVELS = 8  # twice those of any released VAE
_RULES = {  # what a config may set; the rest of diffusers' fields shapes nothing here
    **dict.fromkeys(("in_channels", "out_channels", "latent_channels"), whole(1, 1024)),
    "block_out_channels": several(whole(1, 16_384), _LEVELS),
    "layers_per_block": whole(1, 16),
    "down_block_types": several(word("DownEncoderBlock2D"), _LEVELS),
    "up_block_types": several(word("UpDecoderBlock2D"), _LEVELS),
    "mid_block_add_attention": flag,
    "norm_num_groups": whole(1, 16_384),
    "act_fn": word("silu", "swish", "mish", "gelu", "relu"),
    "sample_size": whole(1, 1 << 20),
    "scaling_factor": real(1e-6, 1e6),
    "force_upcast": flag,
    **dict.fromkeys(("use_quant_conv", "use_post_quant_conv"), flag),
}

# Names before diffusers 0.17, in the released .bin files and in vsr/models/autoencoder_kl.py.
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def load_vae(
    source: str | Path | Mapping[str, Tensor],
    config: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> AutoencoderKL:
    """A VAE from a diffusers folder or a state dict, in evaluation mode and channels-last memory.

    Args:
        source: a folder with config.json and weights, or named tensors with old or new attention names.
        config: diffusers' config; by default the folder's, or read from the tensors.
        dtype: float32 by default. device: the CPU by default.

    Raises:
        LavieError: the folder or tensors are no VAE, or not the one that the config describes.
    """
    # Here, not above: it takes seconds, which importing LaVie should not.
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    title = "the VAE"
    if not isinstance(source, Mapping):
        title = f"the VAE in {source}"
        stored, source = read_folder(Path(source), "VAE")
        config = stored if config is None else config
    tensors = with_new_attention_names(source)
    config = vae_config(tensors, config)

    def build() -> AutoencoderKL:
        return cast("AutoencoderKL", AutoencoderKL.from_config(config))

    try:
        vae = restore(build, tensors, title, dtype, device)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise LavieError(f"The config of {title} describes no VAE that diffusers can build: {error}.") from error
    # On the CPU torch's channels-last group norm loses three digits where an image is flat (see FrameNorm).
    if vae.device.type != "cpu":
        vae.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] (diffusers wraps it untyped)
    return vae


def vae_config(tensors: Mapping[str, Tensor], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """diffusers' config of a VAE, read from its tensors (meta tensors will do); `given` fields win.

    Raises:
        LavieError: the tensors are not those of a VAE.
    """
    levels = _count(tensors, "encoder.down_blocks")
    try:
        first_convolutions = [tensors[f"encoder.down_blocks.{level}.resnets.0.conv1.weight"] for level in range(levels)]
        latent_channels = tensors["decoder.conv_in.weight"].shape[1]
        channels = tensors["encoder.conv_in.weight"].shape[1]
        widths = [weight.shape[0] for weight in first_convolutions]
    except (KeyError, IndexError) as missing:
        raise LavieError(f"These weights are no VAE in diffusers' names: {missing} is missing.") from None
    found = {
        "in_channels": channels,
        "out_channels": channels,
        "latent_channels": latent_channels,
        "block_out_channels": widths,
        "layers_per_block": _count(tensors, "encoder.down_blocks.0.resnets"),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "mid_block_add_attention": any(".mid_block.attentions." in name for name in tensors),
        "norm_num_groups": NORM_GROUPS,
        "scaling_factor": SCALING_FACTORS.get(levels, SCALING_FACTORS[4]),
    }
    config = found | {name: value for name, value in dict(given or {}).items() if name in _RULES}
    require_fields(config, _RULES, "The config of the VAE")
    return config


def with_new_attention_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames `query`, `key`, `value`, `proj_attn` as diffusers has them since 0.17; 1×1 convolutions of the
    attention become the linear layers that they are."""
    renamed = {}
    for name, tensor in tensors.items():
        if ".attentions." in name:
            parent, layer, kind = name.rsplit(".", 2)
            name = f"{parent}.{OLD_ATTENTION.get(layer, layer)}.{kind}"
            tensor = tensor.flatten(1) if tensor.dim() == 4 else tensor
        renamed[name] = tensor
    return renamed


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """How many numbered modules stand below a prefix."""
    return len({name[len(prefix) + 1 :].split(".")[0] for name in tensors if name.startswith(prefix + ".")})
