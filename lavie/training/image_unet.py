"""Image UNets to start from: Stable Diffusion 1.x and the ×4 upscaler, from a folder, a file or tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoints.architecture import has_positions, unet_config
from ..checkpoints.detect import detect
from ..errors import LavieError
from ..lora.compvis import from_compvis
from ..models.restore import read_folder
from ..tensor_files import read_checkpoint

_IN_SINGLE_FILE = "model.diffusion_model."
_WORDS = re.compile(  # the words in a layer's name with underscores
    r"(?:down|up|transformer)_blocks|mid_block|conv_(?:in|norm_out|out|shortcut)|time_emb_proj|time_embedding"
    r"|linear_\d|proj_(?:in|out)|to_(?:q|k|v|out)|[a-z]+\d?|\d+"
)


@dataclass(frozen=True)
class ImageUNet:
    """tensors: under diffusers' names. config: in official field names, of the video UNet without what is for time."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]


def read_image_unet(source: str | Path | Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> ImageUNet:
    """An image UNet from a diffusers folder (the pipeline's or its unet's), a checkpoint file, or named tensors.

    Args:
        source: names in a file or mapping are diffusers' or Stable Diffusion's own (model.diffusion_model.…).
        config: diffusers' UNet config; by default the folder's, else that of the known sizes.

    Raises:
        LavieError: no image UNet, one of another kind of model, or one of unusual size without a config.
    """
    title = "the image model" if isinstance(source, Mapping) else str(source)
    if isinstance(source, Mapping):
        tensors = dict(source)
    else:
        stored, tensors = _read(Path(source))
        config = stored if config is None else config
    tensors = _diffusers_names(tensors)
    if "conv_in.weight" not in tensors or has_positions(tensors):
        raise LavieError(f"{title} seems to be {detect(tensors).title}, but an image UNet is needed here.")
    return ImageUNet(tensors, _config(tensors, config, title))


def _read(path: Path) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    if not path.is_dir():
        return None, read_checkpoint(path).tensors
    return read_folder(path / "unet" if (path / "unet").is_dir() else path, "image UNet")


def _diffusers_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = {k.removeprefix(_IN_SINGLE_FILE): v for k, v in tensors.items() if k.startswith(_IN_SINGLE_FILE)}
    own = own or dict(tensors)
    if "input_blocks.0.0.weight" not in own:
        return own
    renamed = {}
    for name, tensor in own.items():
        layer, _, kind = name.rpartition(".")
        words = _WORDS.findall(from_compvis(layer.replace(".", "_")))
        renamed[".".join([*words, kind])] = tensor
    return renamed


def _config(tensors: Mapping[str, Tensor], given: Mapping[str, Any] | None, title: str) -> dict[str, Any]:
    given = None if given is None else dict(given)
    if given and given.get("num_attention_heads") is not None:
        given["attention_head_dim"] = given["num_attention_heads"]
    if given and not isinstance(given.get("attention_head_dim", 8), int):
        raise LavieError(
            f"{title} has another number of heads at every level, as Stable Diffusion 2 has; LaVie has not."
        )
    try:
        config, assumed = unet_config(tensors, given)
    except (KeyError, IndexError) as missing:
        raise LavieError(f"{title} is no whole image UNet: {missing.args[0]} is missing.") from missing
    if assumed:
        raise LavieError(
            f"{title} is an image UNet of an unusual size, and its tensors do not tell {' and '.join(assumed)}: "
            "use the diffusers folder, which has a config.json."
        )
    return config | {"use_first_frame": False}
