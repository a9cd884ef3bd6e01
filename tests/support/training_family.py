"""A model family of networks so small that a training step takes a fraction of a second."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from lab.architecture import UNETS, new_text_encoder, tokenizer_of
from lavie.checkpoints import save_unet
from lavie.models import VideoUNet, build_unet
from lavie.models.text_encoder import save_text_model
from support.networks import small_vae

HEIGHT, WIDTH, FRAMES = 16, 24, 4
PARTS = {"text_encoder": "text_encoder", "tokenizer": "tokenizer", "num_inference_steps": 2, "scheduler": "ddim"}
SETTINGS = {
    "name": "random",
    "base": {"unet": "base", "vae": "vae", "num_frames": FRAMES, "height": HEIGHT, "width": WIDTH, "fps": 8, **PARTS},
    "interpolation": {"unet": "interpolation", "vae": "vae", "fps": 24, **PARTS},
    "upscaler": {"unet": "upscaler", "vae": "upscaler_vae", "prediction_type": "v_prediction", **PARTS},
}


def small_unet(stage: str) -> VideoUNet:
    widths = [32] * len(UNETS[stage]["block_out_channels"])
    return build_unet({**UNETS[stage], "block_out_channels": widths, "attention_head_dim": 1})


def make_family(folder: Path, stages: tuple[str, ...] = ("base",)) -> Path:
    """A family with networks for these stages, and all that lies around them."""
    torch.manual_seed(0)
    for stage in stages:
        (folder / stage).mkdir(parents=True)
        save_unet(small_unet(stage), folder / stage / "model.safetensors", config_file=True)
    small_vae(8, 8, 8, 8).save_pretrained(folder / "vae")
    small_vae(8, 8, 8).save_pretrained(folder / "upscaler_vae")
    save_text_model(new_text_encoder(tokenizer_of(folder)), folder / "text_encoder")
    (folder / "family.json").write_text(json.dumps(SETTINGS))
    return folder
