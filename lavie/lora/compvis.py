"""Stable Diffusion 1.x's own layer names to diffusers', both with underscores: some LoRA trainers use them."""

from __future__ import annotations

import re

_STEPS = 3  # blocks per level: two layers, and the change of resolution
_OUTER = {
    "input_blocks_0_0": "conv_in",
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
}
_MIDDLE = {"0": "resnets_0", "1": "attentions_0", "2": "resnets_1"}
RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
_MIDDLE_LAYER = re.compile(r"middle_block_([012])_(.+)")
_LAYER = re.compile(r"(input|output)_blocks_(\d+)_(\d)_(.+)")


def from_compvis(layer: str) -> str:
    """input_blocks_1_1_proj_in → down_blocks_0_attentions_0_proj_in; other names stay as they are."""
    if layer in _OUTER:
        return _OUTER[layer]
    if found := _MIDDLE_LAYER.fullmatch(layer):
        return f"mid_block_{_MIDDLE[found[1]]}_{RESNET.get(found[2], found[2])}"
    if found := _LAYER.fullmatch(layer):
        way, inner = found[1], found[4]
        level, place = divmod(int(found[2]) - (way == "input"), _STEPS)
        block = f"down_blocks_{level}" if way == "input" else f"up_blocks_{level}"
        if inner in ("op", "conv"):
            return f"{block}_{'downsamplers' if inner == 'op' else 'upsamplers'}_0_conv"
        kind = "resnets" if found[3] == "0" else "attentions"
        return f"{block}_{kind}_{place}_{RESNET.get(inner, inner)}"
    return layer
