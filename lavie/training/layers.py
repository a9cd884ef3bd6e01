"""The layers of the UNet and the text encoder that get low-rank changes, as patterns of full names for PEFT."""

SPATIAL_LAYERS = r".*\.(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2))"
_CONVOLUTIONS = r"proj_(in|out)|resnets\.\d+\.(conv[12]|conv_shortcut)|(down|up)samplers\.0\.conv"
# By what a LoRA may change: kohya's LoRA and LoCon.
TARGETS = {
    "attention": r".*\.attn[12]\.(to_[qkv]|to_out\.0)",
    "attention-ff": SPATIAL_LAYERS,
    "all": rf"{SPATIAL_LAYERS}|.*\.({_CONVOLUTIONS})",
}
TEXT_TARGETS = r".*\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
