"""LoRA files for Stable Diffusion 1.x and for LaVie itself: read, recognised, and renamed to one scheme."""

from .base import check_base
from .blocks import BlockStrengths
from .convert import temporal_layers, to_kohya
from .read import read_lora
from .stack import Applied, Lora, LoraStack, spatial_layers
from .steps import StepStrengths

__all__ = [
    "Applied",
    "BlockStrengths",
    "Lora",
    "LoraStack",
    "StepStrengths",
    "check_base",
    "read_lora",
    "spatial_layers",
    "temporal_layers",
    "to_kohya",
]
