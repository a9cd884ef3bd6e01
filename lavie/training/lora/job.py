"""A LoRA to be trained, and the callbacks that follow its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...config import Family
from ..settings import LoopSettings
from .settings import LoraSettings

Report = Callable[[str, int, int], None]  # phase, done, in all; may raise to stop


@dataclass(frozen=True)
class LoraJob:
    """A LoRA to be trained.

    size: height and width in pixels that are learnt at, divisible by 8. run: for checkpoints and logs; the same job
    with the same folder resumes at the same step. output: the .safetensors file to write, kohya's names and metadata.
    """

    family: Family
    size: tuple[int, int]
    settings: LoraSettings
    loop: LoopSettings
    run: Path
    output: Path
    device: torch.device


@dataclass(frozen=True)
class Events:
    """The callbacks that follow a training. phase: "encode" and "prior" before the first step; it may raise to stop.
    step, samples: as `on_step` and `on_samples` of `lavie.training.loop.train`; samples show the first captions."""

    phase: Report | None = None
    step: Callable[[int, dict[str, Tensor]], bool | None] | None = None
    samples: Callable[[int, dict[str, np.ndarray]], None] | None = None
