"""What `lavie train` can train.

`TARGETS` is open: a program can add a row before the command line is read, and so train something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .targets import (
    BaseTraining,
    ExtensionTraining,
    InterpolationTraining,
    LoraTraining,
    StageTraining,
    UpscalerTraining,
)

if TYPE_CHECKING:
    from .loop import TrainResult
    from .lora.train import LoraResult


@dataclass(frozen=True)
class Target:
    """What the first word after `lavie train` names.

    settings: a dataclass of parts, among them `run`, a `Run`. train: what is done with an instance; it imports what is
    heavy.
    """

    help: str
    settings: type
    train: Callable[[Any], TrainResult[Any] | LoraResult | None]


def _train_stage(settings: StageTraining) -> TrainResult[Any] | None:
    from .assemble import train_stage

    return train_stage(settings)


def _train_lora(settings: LoraTraining) -> LoraResult:
    from .lora.command import train_lora_from

    return train_lora_from(settings)


TARGETS: dict[str, Target] = {
    "base": Target("text to a short clip, from clips and images together", BaseTraining, _train_stage),
    "interpolation": Target("more frames between key frames", InterpolationTraining, _train_stage),
    "upscaler": Target("four times the height and width", UpscalerTraining, _train_stage),
    "extension": Target("clips that continue, or fill in, given frames", ExtensionTraining, _train_stage),
    "lora": Target("a LoRA of a subject or a style for the base, from a few images", LoraTraining, _train_lora),
}
