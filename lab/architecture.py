"""The networks of the bundled family: the released architecture, at the smallest size that still learns."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lavie.models import VideoUNet, build_unet
from lavie.models.text_encoder import TextEncoder, load_tokenizer
from lavie.training.inflate import silence_temporal

from .tokenizer import build_tokenizer
from .world.captions import vocabulary

TEXT_CHANNELS = 128
NUM_NOISE_LEVELS = 351  # 0…350, the range that the official upscaler accepts

_ATTENDING = {
    "down_block_types": ["CrossAttnDownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"],
    "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D", "CrossAttnUpBlock3D"],
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "cross_attention_dim": TEXT_CHANNELS,
}
UNETS = {
    "base": {"in_channels": 4, "block_out_channels": [64, 80, 96], "attention_head_dim": 2, **_ATTENDING},
    "interpolation": {
        "in_channels": 8,
        "block_out_channels": [64, 80, 96],
        "attention_head_dim": 2,
        "use_first_frame": True,
        **_ATTENDING,
    },
    "upscaler": {
        "in_channels": 7,
        "block_out_channels": [32, 64],
        "down_block_types": ["DownBlock3D", "CrossAttnDownBlock3D"],
        "up_block_types": ["CrossAttnUpBlock3D", "UpBlock3D"],
        "attention_head_dim": 1,
        "layers_per_block": 1,
        "norm_num_groups": 16,
        "cross_attention_dim": TEXT_CHANNELS,
        "use_linear_projection": True,
        "only_cross_attention": [True, True],
        "num_class_embeds": NUM_NOISE_LEVELS,
        "temporal_module_config": {},
    },
}


def new_unet(stage: str) -> VideoUNet:
    """A fresh UNet of the bundled family. Its output starts at zero, and so does everything that its temporal layers
    add."""
    unet = build_unet(UNETS[stage])
    for parameter in unet.conv_out.parameters():
        nn.init.zeros_(parameter)
    silence_temporal(unet)
    return unet


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A fresh two-layer CLIP text encoder."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_CHANNELS,
            intermediate_size=4 * TEXT_CHANNELS,
            projection_dim=TEXT_CHANNELS,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=cast("int", tokenizer.bos_token_id),
            eos_token_id=cast("int", tokenizer.eos_token_id),
            pad_token_id=cast("int", tokenizer.pad_token_id),
        )
    )


def fresh_text_encoder(family: Path) -> TextEncoder:
    """A fresh text encoder with the family's tokenizer."""
    model = new_text_encoder(tokenizer_of(family))
    return TextEncoder(load_tokenizer(family / "tokenizer", model.config.vocab_size), model)


def tokenizer_of(family: Path) -> CLIPTokenizer:
    """The family's tokenizer; made from the grammar of captions if there is none yet."""
    folder = family / "tokenizer"
    if not (folder / "vocab.json").exists():
        build_tokenizer([*vocabulary(), ",", "."], folder)
    return CLIPTokenizer.from_pretrained(folder)
