"""LoRAs trained on a few pictures: a subject or a style for a base that is there."""

from ..loop_settings import LoopSettings
from .camera import camera_moves
from .data import Picture, picture_of, with_trigger
from .settings import TARGETS, LoraSettings
from .train import LoraResult, train_lora

__all__ = [
    "TARGETS",
    "LoopSettings",
    "LoraResult",
    "LoraSettings",
    "Picture",
    "camera_moves",
    "picture_of",
    "train_lora",
    "with_trigger",
]
