"""The world as a source of captioned clips and images, rendered on demand."""

from __future__ import annotations

import torch

from lavie.errors import UsageError
from lavie.training.data import Clip, ClipRequest, ClipSource, DataReport, UnreadableClip
from lavie.training.data.randomness import draw, uniform

from ..world.captions import caption
from ..world.grammar import scene_of
from ..world.render import frame_seconds, render
from ..world.scene import Scene
from ..world.view import SECONDS

VERSION = 3  # of how the world looks: latents of another version are stale
PATCHED_SIZE = (256, 384)  # of the images that patches are cut from
COUNT = 8192
LATEST = 1.2  # seconds: the latest moment of a scene at which a course begins


class World(ClipSource):
    """`count` scenes that belong to `seed`. Without `fps` a request gets a whole clip, evenly sampled.

    stills: images, each from any moment of a clip; some show colours and places that no clip does. Their captions hold
    words of motion only if a single image shows the motion, and then in a share `moving_captions` of the readings.
    latest: clips begin up to so many seconds later, as the continuation of another clip would; a guest that travels may
    leave the frame.
    """

    def __init__(
        self,
        count: int,
        seed: int = 0,
        stills: bool = False,
        held_out: bool = False,
        moving_captions: float = 0.8,
        latest: float = 0.0,
        name: str = "",
    ) -> None:
        if count < 1:
            raise UsageError(f"A world holds at least one scene, not {count}.")
        self.count, self.seed, self.stills, self.held_out = count, seed, stills, held_out
        self.moving_captions, self.latest = moving_captions, latest
        self.name = name or f"world-{'stills' if stills else 'clips'}"
        self.report = DataReport(self.name, kept=count)
        self._scenes: dict[int, Scene] = {}  # drawing one takes a millisecond

    def __len__(self) -> int:
        return self.count

    def scene(self, row: int) -> Scene:
        if row not in self._scenes:
            self._scenes[row] = scene_of(self.seed, row, self.held_out, self.stills)
        return self._scenes[row]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_scenes": {}}

    def caption(self, row: int, generator: torch.Generator) -> str:
        scene = self.scene(row)
        still = self.stills and not (shows_motion(scene) and uniform(generator) < self.moving_captions)
        return caption(scene, generator, still)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        """The "video" [3, frames, h, w] in −1…1 and the guest's "mask" [1, frames, h, w] in 0…1."""
        if self.stills and request.num_frames != 1:
            raise UsageError(f"{self.name} holds images; clips of {request.num_frames} frames cannot be read from it.")
        text, seconds = self.caption(row, generator), self._seconds(request, generator)
        if request.crop != "patch":
            rendering = render(self.scene(row), seconds, request.height, request.width)
            return Clip(text, f"{self.name}, row {row}", {"video": rendering.video, "mask": rendering.mask})
        height, width = PATCHED_SIZE
        if request.height > height or request.width > width:
            raise UsageError(f"Patches of {self.name} are at most {height}x{width}, not {request}.")
        rendering = render(self.scene(row), seconds, height, width)
        y, x = draw(generator, height - request.height + 1), draw(generator, width - request.width + 1)
        window = (..., slice(y, y + request.height), slice(x, x + request.width))
        tensors = {"video": rendering.video[window].clone(), "mask": rendering.mask[window].clone()}
        return Clip(text, f"{self.name}, row {row}", tensors)

    def _seconds(self, request: ClipRequest, generator: torch.Generator) -> torch.Tensor:
        """The moments of the frames; where the request's rate covers less than a whole clip, of a random part of it."""
        frames, later = request.num_frames, uniform(generator, 0, self.latest) if self.latest else 0.0
        if frames == 1:
            return torch.tensor([uniform(generator, 0, SECONDS) + later])
        if request.fps is None:
            return frame_seconds(frames) + later
        length = (frames - 1) / request.fps
        if length > SECONDS + 1e-6:
            raise UnreadableClip(
                self.name, f"{frames} frames at {request.fps:g} a second last longer than {SECONDS:g} s"
            )
        start = uniform(generator, 0, max(0.0, SECONDS - length)) + later
        return torch.linspace(start, start + length, frames)

    def fingerprint(self) -> str:
        options = (self.count, self.seed, self.stills, self.held_out, self.moving_captions, self.latest)
        return f"world {VERSION}: {options}"


def shows_motion(scene: Scene) -> bool:
    """Whether a single image shows the motion: that of a guest with a trail behind it, if the camera is at rest."""
    return scene.guest is not None and scene.guest.motion.startswith("moving") and scene.camera == "still"


KINDS = {"world": {}, "world-courses": {"latest": LATEST}, "world-stills": {"stills": True}}


def open_world(spec: str) -> tuple[World, bool]:
    """The source `KIND[:COUNT[:SEED]]`, and whether it holds images only.

    Raises:
        UsageError: it is of another form.
    """
    kind, *numbers = spec.split(":")
    if kind not in KINDS or len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise UsageError(f"'{spec}' is not of the form {' or '.join(KINDS)}, then :COUNT:SEED with two whole numbers.")
    count, seed = [*map(int, numbers), *(COUNT, 0)[len(numbers) :]]
    return World(count, seed, name=spec, **KINDS[kind]), kind == "world-stills"
