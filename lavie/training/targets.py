"""The settings of each target of `lavie train`: a dataclass composed of the parts that make sense for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .. import flags
from ..errors import UsageError
from ..flags import part
from ..knobs import REQUIRED, knob, same_knob
from . import settings
from .lora.settings import LoraSettings

IMAGES_PER_CLIP = 4


@dataclass(frozen=True)
class StageTraining:
    """The settings that every stage of the cascade has."""

    stage: ClassVar[str]

    start: settings.Start = part("what to start from")
    data: settings.Clips = part("data")
    filters: settings.Filters = part("which files count (what is left out is reported)")
    objective: settings.Objective = part("objective")
    loop: settings.LoopSettings = part("optimisation", warmup=200)
    run: settings.NetworkRun = part("run")

    def __post_init__(self) -> None:
        if self.data.precompute_text and (self.data.precompute is None or self.objective.train_text):
            raise UsageError("--precompute-text needs --precompute, and a text encoder that does not learn.")
        if not self.loop.steps and self.data.precompute is None:
            raise UsageError("--steps 0 only makes sense with --precompute, which it leaves ready.")

    # What only some stages know, as the others have it.

    @property
    def images_alone(self) -> bool:
        """The base learns from images without clips."""
        return not self.data.videos

    @property
    def frames(self) -> tuple[int, ...]:
        return self.data.frames or settings.BASE_FRAMES

    @property
    def images_per_clip(self) -> int:
        return 0

    @property
    def scheme(self) -> str:
        """Which weights are trained, if the user does not say."""
        return "all"


@dataclass(frozen=True)
class BaseTraining(StageTraining):
    stage = "base"

    data: settings.ClipsAndImages = part("data")
    objective: settings.BaseObjective = part("objective")

    def __post_init__(self) -> None:
        super().__post_init__()
        data, objective = self.data, self.objective
        if not data.videos and not data.images:
            raise UsageError("Name something to train on: --videos, --images, or both.")
        of_clips = data.frames not in (None, (1,)) or objective.images_per_clip or objective.train == "temporal"
        if self.images_alone and of_clips:
            raise UsageError("--images without --videos teach single images: leave out --frames and what is for clips.")
        if objective.images_per_clip and not data.images:
            raise UsageError("--images-per-clip needs --images with captioned images.")

    @property
    def frames(self) -> tuple[int, ...]:
        return (1,) if self.images_alone else super().frames

    @property
    def images_per_clip(self) -> int:
        if self.images_alone or not self.data.images:
            return 0
        return IMAGES_PER_CLIP if self.objective.images_per_clip is None else self.objective.images_per_clip

    @property
    def scheme(self) -> str:
        return "spatial" if self.images_alone else "all"


@dataclass(frozen=True)
class InterpolationTraining(StageTraining):
    stage = "interpolation"

    data: settings.DenseClips = part("data", frames=(61,))


@dataclass(frozen=True)
class UpscalerTraining(StageTraining):
    stage = "upscaler"

    data: settings.DenseClipsAndImages = part("data", frames=(8,))
    objective: settings.UpscalerObjective = part("objective")

    @property
    def scheme(self) -> str:
        return "temporal"


@dataclass(frozen=True)
class ExtensionTraining(StageTraining):
    stage = "extension"

    objective: settings.ExtensionObjective = part("objective")


@dataclass(frozen=True, kw_only=True)
class LoraFamily(settings.FamilyFolder):
    family: Path = same_knob(
        settings.FamilyFolder, "family", REQUIRED, help="The model family that the LoRA is for; it stays as it is."
    )


@dataclass(frozen=True, kw_only=True)
class LoraImages:
    images: Path = knob(REQUIRED, "A folder of images, each perhaps with its caption in a .txt file beside it.")
    size: tuple[int, int] | None = knob(
        None, "Height and width that they are learnt at.", unset="the family's", parse=flags.size
    )


@dataclass(frozen=True, kw_only=True)
class LoraRun(settings.Run):
    output: Path = knob(REQUIRED, "The .safetensors file to write.", metavar="FILE")


@dataclass(frozen=True)
class LoraTraining:
    start: LoraFamily = part("what to start from")
    data: LoraImages = part("data")
    lora: LoraSettings = part("lora")
    loop: settings.LoopSettings = part("optimisation", batch_size=2, warmup=50, ema_decay=0.0)
    run: LoraRun = part("run")

    def __post_init__(self) -> None:
        settings.check_steps(self.loop.steps)
