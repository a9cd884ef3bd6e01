"""A video UNet's config, read from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

RELEASED_LAYOUTS = {  # (block_out_channels, cross_attention_dim)
    ((320, 640, 1280, 1280), 768),  # base, interpolation, extension
    ((256, 512, 512, 1024), 1024),  # upscaler
}

# What tensors do not show, with the released models' values.
_UNTOLD = {"norm_num_groups": 32, "norm_eps": 1e-5}
_UNTOLD_HEADS = 8

# A config file or metadata may set these; for everything else the tensors decide.
_FROM_CONFIG = (
    "attention_head_dim",
    "norm_num_groups",
    "norm_eps",
    "only_cross_attention",
    "use_first_frame",
    "sparse_causal_attention",
    "temporal_attention_last",
)

# vsr/configs/unet_3d_config.json, for programs that read our configs with the official code.
_TEMPORAL_MODULE = {
    "num_attention_layers": 1,
    "attention_block_types": ["", ""],
    "cross_frame_attention_mode": "0_i-1_i",
    "temporal_shift_fold_div": 2,
    "temporal_shift_direction": "right",
    "use_dcn_warpping": False,
    "use_deformable_conv": True,
    "attention_dim_div": 2,
}


def unet_config(
    tensors: Mapping[str, Tensor], given: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Read a config from a video UNet's tensors (meta tensors suffice).

    Args:
        tensors: an official UNet state dict.
        given: a config that settles what tensors do not show; its other fields are ignored.

    Returns:
        The config in official field names, and the fields whose values are assumed: they are the released models',
        although the sizes differ, no tensor shows them, and no config was given.

    Raises:
        KeyError: the tensors are not those of a whole UNet.
    """
    levels = _count(tensors, "down_blocks")
    widths = [_shape(tensors, f"down_blocks.{level}.resnets.0.conv1.weight")[0] for level in range(levels)]
    block = "mid_block.attentions.0.transformer_blocks.0"
    config: dict[str, Any] = {
        "in_channels": _shape(tensors, "conv_in.weight")[1],
        "out_channels": _shape(tensors, "conv_out.weight")[0],
        "block_out_channels": widths,
        "layers_per_block": _count(tensors, "down_blocks.0.resnets"),
        "cross_attention_dim": _shape(tensors, f"{block}.attn2.to_k.weight")[1],
        "down_block_types": [_type(tensors, "Down", level) for level in range(levels)],
        "up_block_types": [_type(tensors, "Up", position) for position in range(levels)],
        "use_linear_projection": len(_shape(tensors, "mid_block.attentions.0.proj_in.weight")) == 2,
        "use_first_frame": not has_positions(tensors),
    }
    if "class_embedding.weight" in tensors:
        config["num_class_embeds"] = _shape(tensors, "class_embedding.weight")[0]
    if has_temporal_modules(tensors):
        every_level = list(range(levels))
        config |= {"down_temporal_idx": every_level, "up_temporal_idx": every_level, "mid_temporal": True}
        config |= {"video_condition": False, "temporal_module_config": dict(_TEMPORAL_MODULE)}
    only_cross_attention, sure = _only_cross_attention(tensors, config)
    config |= _UNTOLD | {"attention_head_dim": _UNTOLD_HEADS, "only_cross_attention": only_cross_attention}
    if given is not None:
        config |= {field: given[field] for field in _FROM_CONFIG if field in given}
    heads = _heads_in_bias_table(tensors, block)
    config |= heads
    if given is not None or (tuple(widths), config["cross_attention_dim"]) in RELEASED_LAYOUTS:
        return config, ()
    doubts = {"norm_num_groups": True, "attention_head_dim": not heads, "only_cross_attention": not sure}
    return config, tuple(field for field, doubtful in doubts.items() if doubtful)


def has_positions(tensors: Mapping[str, Tensor]) -> bool:
    """The temporal attention has position biases: every stage but interpolation."""
    return any(name.endswith("time_rel_pos_bias.relative_attention_bias.weight") for name in tensors)


def has_temporal_modules(tensors: Mapping[str, Tensor]) -> bool:
    """The UNet has the upscaler's temporal convolutions."""
    return "mid_temporal_block.shift_conv.weight" in tensors


def _heads_in_bias_table(tensors: Mapping[str, Tensor], block: str) -> dict[str, int]:
    layers = ("attn_temp", "attn_temporal")
    names = [f"{block}.{layer}.time_rel_pos_bias.relative_attention_bias.weight" for layer in layers]
    name = next((name for name in names if name in tensors), None)
    return {"attention_head_dim": _shape(tensors, name)[1]} if name else {}


def _only_cross_attention(tensors: Mapping[str, Tensor], config: dict[str, Any]) -> tuple[list[bool], bool]:
    """Per level: does attn1 read the text? And do the shapes show it?

    They do not if a level is as wide as the text. Then the answer is the official upscaler's (every level but the
    deepest), and no for the other stages, which never have it.
    """
    widths, text = config["block_out_channels"], config["cross_attention_dim"]
    is_upscaler, answers, sure = has_temporal_modules(tensors), [], True
    for level, width in enumerate(widths):
        key = f"down_blocks.{level}.attentions.0.transformer_blocks.0.attn1.to_k.weight"
        if key in tensors and width != text:
            answers.append(_shape(tensors, key)[1] == text)
        else:
            answers.append(is_upscaler and level < len(widths) - 1)
            sure = sure and not (is_upscaler and key in tensors)
    return answers, sure


def _type(tensors: Mapping[str, Tensor], way: str, index: int) -> str:
    attends = f"{way.lower()}_blocks.{index}.attentions.0.norm.weight" in tensors
    return f"{'CrossAttn' if attends else ''}{way}Block3D"


def _count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    """The number of numbered modules below a prefix."""
    start = len(prefix) + 1
    numbers = {name[start:].split(".", 1)[0] for name in tensors if name.startswith(prefix + ".")}
    return len(numbers)


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """The shape of a weight.

    Raises:
        KeyError: there is none, or none with two dimensions and numbers in it.
    """
    tensor = tensors[name]
    if tensor.ndim < 2 or not tensor.numel():
        raise KeyError(name)
    return tuple(tensor.shape)
