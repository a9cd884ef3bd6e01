"""Recognises a checkpoint by the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..stages import FIRST_FRAME, MASK, STAGES
from .architecture import RELEASED_LAYOUTS, has_positions, has_temporal_modules, unet_config

X4_LEVELS = 3  # of the x4 upscaler's VAE; Stable Diffusion's own have 4


@dataclass(frozen=True)
class Detected:
    """What a checkpoint is.

    kind: "unet" (one of LaVie's video UNets), "vae", "text_encoder", "sd1-checkpoint" and "x4-checkpoint" (Stable
        Diffusion 1.x and its x4 upscaler, each in a single file), "foreign" (recognised, but LaVie cannot use it) or
        "unknown".
    stage: for a UNet "base", "interpolation", "extension" or "upscaler"; else None.
    variant: extension "mask" or "first-frame"; vae "f8" or "f4"; text encoder "clip-l" or "openclip-h".
    title: a name for people, with its article: "a LaVie base UNet".
    config: for a UNet, its config in official field names.
    assumed: config fields that neither tensors nor a config determine; they have the released models' values.
    """

    kind: str
    title: str
    stage: str | None = None
    variant: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """ "released" for the sizes of the released UNets, "small" for another; empty if no UNet."""
        if self.kind != "unet":
            return ""
        size = (tuple(self.config["block_out_channels"]), self.config["cross_attention_dim"])
        return "released" if size in RELEASED_LAYOUTS else "small"


def detect(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> Detected:
    """Recognise a state dict; meta tensors suffice.

    Args:
        tensors: named tensors as in the file.
        config: a UNet config stored with them; decides what tensors do not show.
    """
    for recognise in (_video_unet, _vae, _text_encoder, _single_file, _foreign):
        found = recognise(tensors, config)
        if found is not None:
            return found
    first = ", ".join(list(tensors)[:3])
    return Detected("unknown", f"an unknown kind of file (tensors {first}, …)")


def _video_unet(tensors: Mapping[str, Tensor], config: Mapping[str, Any] | None) -> Detected | None:
    """A UNet with LaVie's temporal attention, possibly incomplete."""
    temporal = (".attn_temp.to_q.weight", ".attn_temporal.to_q.weight")
    if not any(name.endswith(temporal) for name in tensors):
        return None
    if "conv_in.weight" not in tensors:
        return Detected("unknown", "part of a LaVie UNet (without conv_in.weight)")
    if tensors["conv_in.weight"].ndim != 4:
        return Detected("unknown", "a damaged LaVie UNet (conv_in.weight is no convolution)")
    channels = tensors["conv_in.weight"].shape[1]
    stage, variant = _stage(tensors, channels, config)
    try:
        full, assumed = unet_config(tensors, config)
    except KeyError as missing:
        return Detected("unknown", f"part of a LaVie {stage or 'video'} UNet (without {missing.args[0]})")
    if stage is None:
        return Detected("unknown", f"a video UNet with {channels} input channels, which no LaVie stage has")
    return Detected("unet", f"a LaVie {stage} UNet", stage, variant, full, assumed)


def _stage(tensors: Mapping[str, Tensor], channels: int, config: Mapping[str, Any] | None) -> tuple[str | None, str]:
    """Interpolation has 8 input channels like the first-frame extension, but no positions in time."""
    if has_temporal_modules(tensors):
        return ("upscaler" if channels in STAGES["upscaler"].in_channels else None), ""
    if not has_positions(tensors) or (config or {}).get("sparse_causal_attention"):
        return ("interpolation" if channels in STAGES["interpolation"].in_channels else None), ""
    variants = {FIRST_FRAME: "first-frame", MASK: "mask"}
    stage = next((name for name in ("base", "extension") if channels in STAGES[name].in_channels), None)
    return stage, variants.get(channels, "")


def _vae(tensors: Mapping[str, Tensor], _: Mapping[str, Any] | None) -> Detected | None:
    if "decoder.conv_in.weight" not in tensors or "encoder.conv_in.weight" not in tensors:
        return None
    down = ("encoder.down_blocks.", "encoder.down.")
    levels = {name.split(".")[2] for name in tensors if name.startswith(down)}
    if not 1 <= len(levels) <= 8:
        return None
    factor = 2 ** (len(levels) - 1)
    return Detected("vae", f"a VAE with {factor}× smaller latents", variant=f"f{factor}")


def _text_encoder(tensors: Mapping[str, Tensor], _: Mapping[str, Any] | None) -> Detected | None:
    key = next((name for name in tensors if name.endswith("embeddings.token_embedding.weight")), None)
    if key is None or key.startswith(("cond_stage_model.", "conditioner.")) or tensors[key].ndim != 2:
        return None
    width = tensors[key].shape[1]
    layers = len({name.split(".layers.")[1].split(".")[0] for name in tensors if ".layers." in name})
    names = {(768, 12): "clip-l", (1024, 23): "openclip-h", (1024, 24): "openclip-h"}
    variant = names.get((width, layers), f"{layers} layers of {width}")
    return Detected("text_encoder", f"a CLIP text encoder ({variant})", variant=variant)


def _single_file(tensors: Mapping[str, Tensor], _: Mapping[str, Any] | None) -> Detected | None:
    if any(name.startswith("conditioner.embedders.") for name in tensors):
        return Detected("foreign", "a Stable Diffusion XL checkpoint")
    if not any(name.startswith("first_stage_model.") for name in tensors):
        return None
    if any(name.startswith("cond_stage_model.transformer.") for name in tensors):
        return Detected("sd1-checkpoint", "a Stable Diffusion 1.x checkpoint")
    levels = {name.split(".")[3] for name in tensors if name.startswith("first_stage_model.encoder.down.")}
    if len(levels) == X4_LEVELS and any(name.startswith("cond_stage_model.model.") for name in tensors):
        return Detected("x4-checkpoint", "a Stable Diffusion x4 upscaler checkpoint")
    return Detected("foreign", "a Stable Diffusion 2 checkpoint, or one without its text encoder")


def _foreign(tensors: Mapping[str, Tensor], _: Mapping[str, Any] | None) -> Detected | None:
    """Files that users mistake for a LaVie checkpoint, the more specific ones first."""
    marks = {
        "a LoRA": (".lora_A.", ".lora_B.", ".lora_up.", ".lora_down.", ".lora.up.", ".lora.down."),
        "an AnimateDiff motion module": ("motion_modules.", "temporal_transformer."),
        "a ControlNet": ("controlnet_cond_embedding.", "control_model.", "controlnet_down_blocks."),
        "a Stable Diffusion XL UNet": ("add_embedding.linear_1.", "label_emb.0.0."),
    }
    for title, parts in marks.items():
        if any(part in name for name in tensors for part in parts):
            return Detected("foreign", title)
    if "conv_in.weight" in tensors and "mid_block.attentions.0.proj_in.weight" in tensors:
        return Detected("foreign", "an image UNet (Stable Diffusion, without layers for time)")
    if "input_blocks.0.0.weight" in tensors:
        return Detected("foreign", "an image UNet in Stable Diffusion's own names")
    return None
