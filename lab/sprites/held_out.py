"""Clips of combinations that training never showed: what the suites ask for, and what is true of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from lavie.errors import UsageError
from lavie.evaluation.true_clips import TrueClip
from lavie.models.latents import to_uint8

from . import Scene, caption, frame_times, render, sample_scene
from .score import score

ENLARGED = frame_times(61)[26:34]  # as the interpolation stage hands them over, from the middle of a clip


def held_out_scenes(count: int, seed: int) -> list[Scene]:
    """Scenes whose combination of attributes training never showed."""
    if count < 1:
        raise UsageError(f"The number of prompts must be at least 1, not {count}.")
    generator = torch.Generator().manual_seed(seed)
    return [sample_scene(generator, held_out=True) for _ in range(count)]


def rendered_clips(scenes: list[Scene], frames: int, height: int, width: int) -> Iterable[np.ndarray]:
    """What the renderer shows for each scene: the judge's own accuracy is measured on these."""
    for scene in scenes:
        yield rendered(scene, frame_times(frames), height, width)


def rendered(scene: Scene, times: torch.Tensor, height: int, width: int) -> np.ndarray:
    """uint8 [times, height, width, 3]."""
    return rendered_with_sprite(scene, times, height, width)[0]


def rendered_with_sprite(scene: Scene, times: torch.Tensor, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [times, height, width, 3], and the sprite's coverage [times, height, width] in 0…1."""
    video, mask = render([scene], times, height, width)
    return to_uint8(video)[0].permute(1, 2, 3, 0).numpy(), mask[0, 0].numpy()


class HeldOutClips:
    """Held-out scenes as `lavie.evaluation.true_clips.TrueClips`; their kind is the motion."""

    def __init__(self, count: int, seed: int) -> None:
        self.scenes = held_out_scenes(count, seed)

    def __len__(self) -> int:
        return len(self.scenes)

    def caption(self, number: int) -> str:
        return caption(self.scenes[number])

    def clip(self, number: int, num_frames: int, height: int, width: int) -> TrueClip:
        return self._at(number, frame_times(num_frames), height, width)

    def reduced(self, number: int, height: int, width: int, scale: int) -> tuple[np.ndarray, TrueClip]:
        """The small frames are rendered small, not reduced."""
        small = rendered(self.scenes[number], ENLARGED, height, width)
        return small, self._at(number, ENLARGED, scale * height, scale * width)

    def shares(self, clips: Sequence[np.ndarray]) -> dict[str, float]:
        return score(self.scenes, clips).shares

    def _at(self, number: int, times: torch.Tensor, height: int, width: int) -> TrueClip:
        scene = self.scenes[number]
        return TrueClip(caption(scene), *rendered_with_sprite(scene, times, height, width), kind=scene.motion)
