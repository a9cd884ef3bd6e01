"""LoRAs trained on a few pictures: a subject or a style for a base that is there."""

from .camera import camera_moves
from .settings import TARGETS, LoraSettings
from .train import LoraResult, train_lora

__all__ = ["TARGETS", "LoraResult", "LoraSettings", "camera_moves", "train_lora"]
