"""Which model a LoRA was made for, recognised by the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from ..checkpoints.detect import detect
from ..errors import LavieError
from .names import DOWN, Name, is_temporal, split

_SD2, _SDXL = "a LoRA for Stable Diffusion 2", "a LoRA for Stable Diffusion XL"
_START = r"^(?:base_model\.model\.|diffusion_model\.|lora_unet_+)?"
_MARKS = (  # in any name; the more specific ones first
    (r"motion_modules\.|temporal_transformer", "an AnimateDiff motion module or motion LoRA"),
    (r"^lora_controlnet$", "a Control-LoRA (a kind of ControlNet)"),
    (r"^lllite_", "a ControlNet-LLLite"),
    (r"^(ip_adapter|image_proj)\.", "an IP-Adapter"),
    (r"^emb_params$|^clip_[lg]$|^<.*>$", "a textual inversion embedding"),
    (r"^lora_prior_|^prior\.", "a LoRA for Stable Cascade"),
    (r"(^|[._])(double_blocks|single_blocks|single_transformer_blocks)[._]", "a LoRA for Flux or a model like it"),
    (r"^lora_te3_|^text_encoder_3\.|(^|[._])joint_blocks[._]", "a LoRA for Stable Diffusion 3"),
    (
        rf"^lora_transformer_|^transformer\.|{_START}(transformer_blocks|blocks|layers)[._]\d",
        "a LoRA for a diffusion transformer (Stable Diffusion 3, Wan, Qwen or the like)",
    ),
    (r"^lora_te2_|^text_encoder_2\.|add_embedding|label_emb", _SDXL),
)
_TEXT_WIDTHS = {1024: _SD2, 1280: _SDXL}
_CONTEXT_WIDTHS = {1024: _SD2, 2048: _SDXL}
_DEEP = re.compile(r"attentions_\d_transformer_blocks_[1-9]")  # Stable Diffusion 1 and 2 have one block at a place
_LAYERS = re.compile(r"lora_unet_(conv_in|conv_out|conv_norm_out|time_embedding|(down|up)_blocks|mid_block)_?")


def check_base(tensors: Mapping[str, Tensor], name: str = "This file") -> None:
    """Refuse anything but a LoRA for Stable Diffusion 1.x or for one of LaVie's own UNets; meta tensors suffice.

    Args:
        tensors: as in the file, in any spelling of `lavie.lora.names`.
        name: what to call the file.

    Raises:
        LavieError: says what it is instead.
    """
    found = _marked(tensors)
    names = [part for part in map(split, tensors) if part is not None]
    if not found and not names:
        known = detect(tensors)
        title = known.title if known.kind != "unknown" else f"something else (tensors {_first(tensors)}, …)"
        raise LavieError(f"{name} holds no LoRA, but {title}.")
    found = found or _by_shape(tensors)
    if found:
        raise LavieError(f"{name} is {found}; LaVie takes LoRAs made for Stable Diffusion 1.x or for LaVie itself.")
    if all(is_temporal(tensor) for tensor in tensors if split(tensor)):
        raise LavieError(f"{name} changes only motion layers; LaVie takes LoRAs that change the look.")
    if not any(part.model == "te" or _LAYERS.match(part.kohya) for part in names):
        raise LavieError(
            f"{name} is a LoRA for another kind of model: Stable Diffusion 1.x has no layer {names[0].layer}."
        )


def _marked(names: Iterable[str]) -> str:
    names = list(names)
    return next((title for mark, title in _MARKS if any(re.search(mark, name) for name in names)), "")


def _by_shape(tensors: Mapping[str, Tensor]) -> str:
    """Decide by the width of the text that the layers read, and by the number of blocks."""
    for tensor_name, tensor in tensors.items():
        name = split(tensor_name)
        if name is None:
            continue
        if name.model == "unet" and _DEEP.search(name.kohya):
            return _SDXL
        if name.part in (DOWN, "hada_w1_b", "diff") and tensor.ndim > 1 and tensor.shape[1] in _reads(name):
            return _reads(name)[tensor.shape[1]]
    return ""


def _reads(name: Name) -> dict[int, str]:
    if name.model == "te":
        return _TEXT_WIDTHS if re.search(r"(q|k|v)_proj$|fc1$", name.kohya) else {}
    return _CONTEXT_WIDTHS if re.search(r"attn2_to_[kv]$", name.kohya) else {}


def _first(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:3])
