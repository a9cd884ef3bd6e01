"""`Control`: what a video is told to follow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checks import check_video
from ..errors import UsageError
from ..lora.steps import StepStrengths
from ..models import UNetConfig
from .hinted import HintedControl
from .networks import Adapter, ControlNet, read_network
from .strengths import MOST, FrameStrengths


@dataclass(frozen=True)
class Control:
    """A ControlNet or T2I-Adapter, the video that it follows, and its strengths.

    path: of the network, a file or a diffusers folder. video: its maps, uint8 [F, height, width, 3 or 4]; one image is
    for all frames; another size is cut around the middle and scaled. source: where the video is from, for metadata.
    between: the share of the denoising, from 0 (noise) to 1 (done), in which it acts. over_steps, over_frames:
    factors on the strength.

    Raises:
        UsageError: a strength beyond ±20, or something that is no video.
    """

    path: Path
    video: np.ndarray = field(repr=False)
    strength: float = 1.0
    source: str = ""
    between: tuple[float, float] = (0.0, 1.0)
    over_steps: StepStrengths = field(default_factory=StepStrengths)
    over_frames: FrameStrengths = field(default_factory=FrameStrengths)

    def __post_init__(self) -> None:
        if not math.isfinite(self.strength) or abs(self.strength) > MOST:
            raise UsageError(
                f"The strength of {self.path.name} must be between -{MOST:g} and {MOST:g}, not {self.strength:g}."
            )
        if not 0 <= self.between[0] <= self.between[1] <= 1:
            raise UsageError(f"A control acts from one share of the steps to a later one, 0 to 1, not {self.between}.")
        video = np.asarray(self.video)
        if video.ndim != 4 or video.shape[-1] not in (3, 4) or video.dtype != np.uint8:
            raise UsageError("A control video must be uint8 frames of shape [frames, height, width, 3].")
        check_video(video.shape[:3], minimum=1)

    def loaded(self, config: UNetConfig, known: dict[Path, Any] | None = None, **where: Any) -> HintedControl:
        """Ready for a UNet of this config.

        Args:
            known: networks that are loaded already, by path; a new one is added. where: dtype and device.

        Raises:
            LavieError: its file is missing, damaged, or made for another model.
        """
        networks: dict[Path, ControlNet | Adapter] = {} if known is None else known
        if self.path not in networks:
            networks[self.path] = read_network(self.path, config, **where)
        hint = torch.from_numpy(np.ascontiguousarray(self.video[..., :3])).permute(0, 3, 1, 2)
        strengths = (self.strength, self.between, self.over_steps, self.over_frames)
        return HintedControl(networks[self.path], hint, *strengths)

    def metadata(self) -> dict[str, Any]:
        """Its names and strengths, for the metadata of a video."""
        steps, frames = ([list(point) for point in each.points] for each in (self.over_steps, self.over_frames))
        more = ({"steps": steps} if steps else {}) | ({"frames": frames} if frames else {})
        between = {} if self.between == (0.0, 1.0) else {"between": list(self.between)}
        return {"name": self.path.name, "video": self.source, "strength": self.strength, **between, **more}
