"""The world as a source of captioned clips and pictures, rendered when they are asked for."""

from __future__ import annotations

import torch

from lavie.errors import UsageError
from lavie.training.data import Clip, ClipRequest, DataReport, Source
from lavie.training.data.randomness import uniform

from ..world.captions import caption
from ..world.grammar import scene_of
from ..world.render import frame_seconds, render
from ..world.scene import Scene
from ..world.view import SECONDS

VERSION = 1  # of how the world looks: latents of another are stale


class World(Source):
    """`count` scenes that belong to `seed`.

    stills: pictures, at any moment of a clip, some of which show colours and places that no clip does. Their captions
    hold words of motion only where a single picture shows the motion, and then in `moving_captions` of the readings.
    """

    def __init__(
        self, count: int, seed: int = 0, stills: bool = False, held_out: bool = False, moving_captions: float = 0.5
    ):
        if count < 1:
            raise UsageError(f"A world holds at least one scene, not {count}.")
        self.count, self.seed, self.stills, self.held_out = count, seed, stills, held_out
        self.moving_captions = moving_captions
        self.name = f"world-{'stills' if stills else 'clips'}"
        self.report = DataReport(self.name, kept=count)

    def __len__(self) -> int:
        return self.count

    def scene(self, row: int) -> Scene:
        return scene_of(self.seed, row, self.held_out, self.stills)

    def caption(self, row: int, generator: torch.Generator) -> str:
        scene = self.scene(row)
        still = self.stills and not (shows_motion(scene) and uniform(generator) < self.moving_captions)
        return caption(scene, generator, still)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        """The "video" [3, frames, h, w] in −1…1 and the guest's "mask" [1, frames, h, w] in 0…1."""
        if self.stills and request.num_frames != 1:
            raise UsageError(f"{self.name} holds pictures; clips of {request.num_frames} frames cannot be read of it.")
        text, scene = self.caption(row, generator), self.scene(row)
        film = render(scene, self._seconds(request, generator), request.height, request.width)
        return Clip(text, f"{self.name}, row {row}", {"video": film.video, "mask": film.mask})

    def _seconds(self, request: ClipRequest, generator: torch.Generator) -> torch.Tensor:
        frames = request.num_frames
        if frames == 1:
            return torch.tensor([uniform(generator, 0, SECONDS)])
        if request.fps is None:
            return frame_seconds(frames)
        length = min((frames - 1) / request.fps, SECONDS)
        start = uniform(generator, 0, SECONDS - length)
        return torch.linspace(start, start + length, frames)

    def fingerprint(self) -> str:
        return f"world {VERSION}: {self.count} {self.seed} {self.stills} {self.held_out} {self.moving_captions}"


def shows_motion(scene: Scene) -> bool:
    """Whether a single picture tells the motion: of a guest with a trail behind it, before a camera at rest."""
    return scene.guest is not None and scene.guest.motion.startswith("moving") and scene.camera == "still"
