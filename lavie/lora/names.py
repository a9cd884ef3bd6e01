"""How LoRA files spell the name of a tensor: kohya, PEFT, and three generations of diffusers.

kohya:        lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight
PEFT:         base_model.model.down_blocks.0.….attn1.to_q.lora_A.weight, or .lora_A.default.weight
diffusers:    unet.down_blocks.0.….attn1.to_q.lora_A.weight, or .lora.down.weight
old ones:     unet.down_blocks.0.….attn1.processor.to_q_lora.down.weight
text encoder: text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .compvis import from_compvis

DOWN, UP, MID, ALPHA, DORA = "lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha", "dora_scale"

_KOHYA = re.compile(r"(?:lora_(unet|te)1?|(lycoris))_([^.]+)\.(.+)")
_PARTS = (  # endings of dotted names
    (re.compile(r"\.lora_A(?:\.[^.]+)?\.weight$"), DOWN),
    (re.compile(r"\.lora_B(?:\.[^.]+)?\.weight$"), UP),
    (re.compile(r"(?:[._]lora|\.lora_linear_layer)\.down\.weight$"), DOWN),
    (re.compile(r"(?:[._]lora|\.lora_linear_layer)\.up\.weight$"), UP),
    (re.compile(r"\.lora_magnitude_vector(?:\.[^.]+)?(?:\.weight)?$"), DORA),
    *((re.compile(rf"\.{re.escape(part)}$"), part) for part in (DOWN, UP, MID, ALPHA, DORA, "diff", "diff_b")),
)
_TEXT_PREFIXES = ("text_encoder.", "text_encoders.clip_l.transformer.")
_PREFIXES = (
    "base_model.model.",
    "unet.",
    "model.diffusion_model.",
    "diffusion_model.",
    "module.",
    "_orig_mod.",
    *_TEXT_PREFIXES,
)
_TEXT_LAYERS = ("text_model.", "encoder.layers.")
_TEXT_PROJECTIONS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_TEMPORAL = ("attn_temp", "norm_temp", "temporal", "motion_modules")


@dataclass(frozen=True)
class Name:
    """What a tensor belongs to.

    model: "unet" or "te" (the text encoder). layer: with dots, or with underscores if kohya's names have no dots. part:
    as kohya spells it, "lora_down.weight" or "alpha"; parts of other adapters as in the file.
    """

    model: str
    layer: str
    part: str

    @property
    def kohya(self) -> str:
        """The layer in kohya's spelling: lora_unet_mid_block_attentions_0_proj_in."""
        layer = self.layer.replace(".", "_")
        return f"lora_{self.model}_{from_compvis(layer) if self.model == 'unet' else layer}"


def split(name: str) -> Name | None:
    """Parse a tensor's name; None if it belongs to no adapter in a known spelling."""
    kohya = _KOHYA.fullmatch(name)
    if kohya:
        return Name(kohya[1] or "unet", kohya[3], kohya[4])
    for ending, part in _PARTS:
        found = ending.search(name)
        if found:
            return _dotted(name[: found.start()], part)
    return None


def is_temporal(name: str) -> bool:
    """Whether a layer is temporal: LaVie's own, or a motion module's."""
    return any(mark in name for mark in _TEMPORAL)


def _dotted(layer: str, part: str) -> Name:
    is_text = False
    while prefix := next((p for p in _PREFIXES if layer.startswith(p)), ""):
        is_text = is_text or prefix in _TEXT_PREFIXES
        layer = layer.removeprefix(prefix)
    layer = layer.replace(".processor.", ".")
    if not is_text and not layer.startswith(_TEXT_LAYERS):
        return Name("unet", re.sub(r"\.to_out$", ".to_out.0", layer), part)
    stem, _, last = layer.rpartition(".")
    layer = f"{stem}.{_TEXT_PROJECTIONS.get(last, last)}"
    return Name("te", layer if layer.startswith("text_model.") else f"text_model.{layer}", part)
