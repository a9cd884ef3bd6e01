"""Rendered clips that training never sees, for the suites of `lavie evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lavie.evaluation.true_clips import TrueClip
from lavie.models.latents import to_uint8

from ..judge.accuracy import right, shares
from ..judge.judge import read
from ..world.captions import caption
from ..world.render import frame_seconds, render
from ..world.scene import Scene
from .samples import held_out_scenes

ENLARGED = frame_seconds(61)[26:34]  # as the interpolation stage hands them over, from the middle of a clip
SHARES = ("place", "time", "weather", "camera", "guests", "kind", "colour", "direction", "motion", "steady")


def filmed(scene: Scene, seconds: torch.Tensor, height: int = 64, width: int = 96) -> np.ndarray:
    """The scene at these moments, uint8 [moments, height, width, 3]."""
    return _pixels(render(scene, seconds, height, width).video)


def _pixels(video: torch.Tensor) -> np.ndarray:
    return to_uint8(video).permute(1, 2, 3, 0).numpy()


class HeldOutClips:
    """Held-out scenes as `lavie.evaluation.true_clips.TrueClips`; their kind is what moves."""

    def __init__(self, count: int, seed: int) -> None:
        self.scenes = held_out_scenes(count, seed)

    def __len__(self) -> int:
        return len(self.scenes)

    def caption(self, number: int) -> str:
        return caption(self.scenes[number])

    def clip(self, number: int, num_frames: int, height: int, width: int) -> TrueClip:
        return self._at(number, frame_seconds(num_frames), height, width)

    def reduced(self, number: int, height: int, width: int, scale: int) -> tuple[np.ndarray, TrueClip]:
        """The small frames are rendered at that size, not scaled down."""
        small = filmed(self.scenes[number], ENLARGED, height, width)
        return small, self._at(number, ENLARGED, scale * height, scale * width)

    def shares(self, clips: Sequence[np.ndarray]) -> dict[str, float]:
        found = shares(right(scene, read(clip)) for scene, clip in zip(self.scenes, clips, strict=True))
        return {name: found[name] for name in SHARES if name in found}

    def _at(self, number: int, seconds: torch.Tensor, height: int, width: int) -> TrueClip:
        scene = self.scenes[number]
        rendering, guest = render(scene, seconds, height, width), scene.guest
        subject = None if guest is None else rendering.mask[0].numpy()
        moves = scene.camera if guest is None else guest.motion
        return TrueClip(caption(scene), _pixels(rendering.video), subject, "nothing" if moves == "still" else moves)
