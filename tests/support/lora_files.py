"""LoRA files of random weights, in every spelling."""

import pytest
import torch
from safetensors.torch import save_file

from lavie.errors import LavieError
from lavie.lora import read_lora, to_kohya

RANK = 4
UNET_LAYERS = {  # (out, in)
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q": (32, 32),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0": (32, 32),
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k": (64, 768),
    "up_blocks.1.attentions.2.transformer_blocks.0.attn2.to_v": (64, 768),
}
TEXT_LAYERS = {"text_model.encoder.layers.11.self_attn.q_proj": (768, 768)}
TEXT_OUT = {"text_model.encoder.layers.0.self_attn.out_proj": (768, 768)}
LAYERS = UNET_LAYERS | TEXT_LAYERS | TEXT_OUT


def weights(layers=None, seed=0) -> dict:
    """{layer: (down, up)}"""
    random = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=random)  # noqa: E731
    return {name: (draw(RANK, width), draw(out, RANK)) for name, (out, width) in (layers or LAYERS).items()}


def is_text(layer: str) -> bool:
    return layer.startswith("text_model.")


def kohya(layer: str) -> str:
    return f"lora_{'te' if is_text(layer) else 'unet'}_{layer.replace('.', '_')}"


def component(layer: str) -> str:
    return f"{'text_encoder' if is_text(layer) else 'unet'}.{layer}"


def old_processor(layer: str) -> str:
    """diffusers 0.14: unet.….attn1.processor.to_q_lora, text_encoder.….self_attn.to_q_lora"""
    names = {"q_proj": "to_q", "out_proj": "to_out"}
    stem, _, last = component(layer).removesuffix(".0").rpartition(".")
    return f"{stem}.{names[last]}_lora" if is_text(layer) else f"{stem}.processor.{last}_lora"


def text_or(of_unet):
    """The UNet in one spelling, the text encoder in diffusers' own."""
    return lambda layer: component(layer) + (".lora_linear_layer" if is_text(layer) else of_unet)


SPELLINGS = {  # a layer to the names of its two tensors
    "kohya": lambda n: (f"{kohya(n)}.lora_down.weight", f"{kohya(n)}.lora_up.weight"),
    "kohya te1": lambda n: tuple(kohya(n).replace("_te_", "_te1_") + f".lora_{w}.weight" for w in ("down", "up")),
    "lycoris": lambda n: tuple(
        (kohya(n) if is_text(n) else kohya(n).replace("lora_unet", "lycoris")) + end
        for end in (".lora_down.weight", ".lora_up.weight")
    ),
    "peft": lambda n: tuple(f"base_model.model.{n}.lora_{w}.weight" for w in "AB"),
    "peft, adapter name": lambda n: tuple(f"base_model.model.{n}.lora_{w}.default.weight" for w in "AB"),
    "peft, components": lambda n: tuple(f"base_model.model.{component(n)}.lora_{w}.weight" for w in "AB"),
    "peft below components": lambda n: tuple(
        component(n).replace(".", ".base_model.model.", 1) + f".lora_{w}.weight" for w in "AB"
    ),
    "peft, transformers 5": lambda n: tuple(
        f"base_model.model.{n.removeprefix('text_model.')}.lora_{w}.weight" for w in "AB"
    ),
    "diffusers": lambda n: tuple(f"{component(n)}.lora_{w}.weight" for w in "AB"),
    "diffusers, lora.down": lambda n: tuple(f"{text_or('.lora')(n)}.{w}.weight" for w in ("down", "up")),
    "diffusers, to_out.lora": lambda n: tuple(
        f"{text_or('.lora')(n)}.{w}.weight".replace("to_out.0.", "to_out.") for w in ("down", "up")
    ),
    "diffusers, lora_linear_layer": lambda n: tuple(
        f"{component(n)}.lora_linear_layer.{w}.weight" for w in ("down", "up")
    ),
    "diffusers, processors": lambda n: tuple(f"{old_processor(n)}.{w}.weight" for w in ("down", "up")),
    "comfyui": lambda n: tuple(
        f"{'text_encoders.clip_l.transformer.' if is_text(n) else 'diffusion_model.'}{n}.lora_{w}.weight"
        for w in ("down", "up")
    ),
}


def spelled(spelling: str, layers: dict | None = None) -> dict:
    names = SPELLINGS[spelling]
    return {
        name: tensor
        for layer, pair in (layers or weights()).items()
        for name, tensor in zip(names(layer), pair, strict=True)
    }


def refusal(tensors) -> str:
    with pytest.raises(LavieError) as caught:
        to_kohya(tensors) if isinstance(tensors, dict) else to_kohya(read_lora(tensors))
    return str(caught.value)


def written(tensors: dict, path, metadata=None):
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, str(path), metadata=metadata)
    return path
