"""What the graphs of table.py start from: LaVie's own, files in the models' folders, and stand-ins for large models."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import folder_paths
import torch
from safetensors.torch import load_file, save_file
from support import host_control
from support.graph import run, stage
from support.pack import ROOT

SIZE = {"width": 96, "height": 64, "num_frames": 5}
BUNDLED = next((ROOT / "lavie" / "weights" / "tiny" / "loras").glob("*.safetensors"))


def folder(key: str) -> Path:
    path = Path(folder_paths.get_folder_paths(key)[0])
    path.mkdir(parents=True, exist_ok=True)
    return path


def make_files() -> None:
    """own.safetensors: a LoRA that fits. sd1.safetensors: one for the widths of Stable Diffusion 1.x. sdxl.safetensors:
    one without a layer of LaVie's. own.pt: a hypernetwork. What is saved in kept/ is found among the models."""
    folder_paths.add_model_folder_path("lavie", os.path.join(folder_paths.get_output_directory(), "kept"))
    own = load_file(BUNDLED)
    save_file(own, folder("loras") / "own.safetensors")
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    for file, layer in {"sd1": name, "sdxl": "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"}.items():
        down, up = torch.ones(4, 320), torch.ones(320, 4)
        save_file(
            {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": up}, folder("loras") / f"{file}.safetensors"
        )
    width = 128
    linear = {"linear.weight": torch.eye(width) * 0.1, "linear.bias": torch.zeros(width)}
    torch.save({width: (linear, linear)}, folder("hypernetworks") / "own.pt")


@cache
def thing(name: str) -> Any:
    """What "$name" stands for."""
    base = stage("base")
    if name in ("model", "clip", "vae", "positive", "negative"):
        return getattr(base, name)
    if name == "other":  # another model of the same kind
        return run("LaVieLoraLoader", model=base.model, lora_name=f"lavie-tiny/{BUNDLED.name}")[0]
    if name == "other_clip":
        weights = base.clip.patcher.model_state_dict()
        clip = base.clip.clone()
        clip.add_patches({name: (weights[name],) for name in weights if name.endswith("q_proj.weight")}, 0.5)
        return clip
    if name in ("images", "images2"):
        return run("LaVieExampleVideo", num_frames=5)[0].flip(2 if name == "images2" else ())
    if name in ("latent", "latent2"):
        return run("LaVieVAEEncode", images=thing(name.replace("latent", "images")), vae=base.vae)[0]
    if name == "masked":
        soft = torch.linspace(0, 1, SIZE["width"]).expand(1, SIZE["height"], -1)
        return {**thing("latent"), "noise_mask": soft}
    if name == "ip_adapted":
        pack = next(module for name, module in sys.modules.items() if name.endswith("plus.IPAdapterPlus"))
        model = base.model.clone()
        pack.set_model_patch_replace(model, {"sigma_start": 0.0, "sigma_end": 0.0}, ("input", 1))
        return model
    if name == "empty":
        return run("LaVieEmptyLatentVideo", **SIZE)[0]
    if name == "control_net":
        return host_control.control_net()
    if name == "adapter":
        return host_control.adapter()
    if name == "small":  # a model of widths that ComfyUI's ControlNets can have
        return host_control.model()
    if name == "gligen":
        return None
    if name == "vision":
        return SimpleNamespace(image_embeds=torch.zeros(1, 768))
    if name == "mask":
        mask = torch.zeros(1, SIZE["height"], SIZE["width"])
        mask[..., : SIZE["width"] // 2] = 1
        return mask
    raise KeyError(name)
