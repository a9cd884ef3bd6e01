"""What a training step asks of the data, and what it gets."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ...errors import LavieError, UsageError, printable
from ...sampling.schedule import NUM_TRAIN_TIMESTEPS

CROPS = ("center", "random", "patch")


@dataclass(frozen=True)
class ClipRequest:
    """The clip that a step wants.

    num_frames: 1 for images. height, width: pixels of the result. fps: frames are sampled at this rate; None takes
    consecutive frames. crop: "center" or "random" after a resize that just covers height×width, or "patch": a random
    window of the original pixels.
    """

    num_frames: int
    height: int
    width: int
    fps: float | None = None
    crop: str = "center"

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise UsageError(f"There is no crop '{self.crop}'; choose one of {', '.join(CROPS)}.")
        if min(self.num_frames, self.height, self.width) < 1 or (self.fps is not None and not self.fps > 0):
            raise UsageError(f"A clip needs at least one frame and pixel and a positive frame rate, not {self}.")


@dataclass(frozen=True)
class Clip:
    """A captioned clip.

    name: the file, or what the source calls it. tensors: "video" float32 [3, frames, height, width] in −1…1, or
    precomputed "latents" [4, frames, h, w], scaled (upscaler: and "low_resolution" [3, frames, h, w]); perhaps "mask"
    [1, frames, h, w] in 0…1, which marks what counts more in the loss, and "text" [77, channels]. min_timestep,
    max_timestep: the noise levels it is learned at, the first included, the second not. teacher_caption: for a LoRA,
    which then learns what the network without it predicts for this caption, instead of the clip.
    """

    caption: str
    name: str
    tensors: dict[str, Tensor] = field(repr=False)
    min_timestep: int = 0
    max_timestep: int = NUM_TRAIN_TIMESTEPS
    teacher_caption: str | None = None


class UnreadableClip(LavieError):  # noqa: N818 (it says what the clip is)
    """A file that is broken or lacks what was asked for; it is named, counted and skipped."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return printable(f"{self.name}: {self.reason}")
