"""The synthetic world as a source: clips and images that are rendered when they are asked for."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lavie.errors import UsageError
from lavie.training.data.clip import Clip, ClipRequest, UnreadableClip
from lavie.training.data.filters import DataReport
from lavie.training.data.randomness import draw, generator_of, uniform
from lavie.training.data.source import ClipSource

from . import CAMERAS, LASTING, STILL_COLOURS, Scene, caption, frame_times, render, sample_scene

SECONDS = 15 / 8  # from the first to the last frame of a clip: 16 frames at 8 a second
LATEST_START = {True: 1.0, False: 0.5}  # of a course, by whether its motion lasts; later a traveller would be gone
PATCHED_SIZE = (256, 384)  # of the images that patches are cut from
COUNT = 8192


class _Scenes(ClipSource):
    """`count` scenes that belong to `seed`."""

    def __init__(self, count: int, seed: int, held_out: bool, name: str) -> None:
        if count < 1:
            raise UsageError(f"{name} must hold at least one scene, not {count}.")
        self.count, self.seed, self.held_out = count, seed, held_out
        self.name = name
        self.report = DataReport(self.name, kept=count)
        self._scenes: dict[int, Scene] = {}

    def __len__(self) -> int:
        return self.count

    def scene(self, row: int) -> Scene:
        if row not in self._scenes:
            self._scenes[row] = self._draw(generator_of(self.seed, type(self).__name__, row))
        return self._scenes[row]

    def _draw(self, generator: torch.Generator) -> Scene:
        raise NotImplementedError

    def fingerprint(self) -> str:
        options = {k: v for k, v in sorted(vars(self).items()) if k[0] != "_" and k not in ("name", "report")}
        first = [self.scene(row) for row in range(min(8, self.count))]  # they change with the renderer's world
        return f"{type(self).__name__} with dark trails {options} {generator_of(repr(first)).initial_seed():x}"

    def _render(self, row: int, times: Tensor, request: ClipRequest, generator: torch.Generator) -> dict[str, Tensor]:
        """The row's "video" and "mask" (sprite and trail) at these times of 0…1."""
        if request.crop != "patch":
            video, mask = render([self.scene(row)], times, request.height, request.width, trails=True)
            return {"video": video[0], "mask": mask[0]}
        height, width = PATCHED_SIZE
        if request.height > height or request.width > width:
            raise UsageError(f"Patches of {self.name} are at most {height}x{width}, not {request}.")
        y, x = draw(generator, height - request.height + 1), draw(generator, width - request.width + 1)
        window = (0, slice(None), slice(None), slice(y, y + request.height), slice(x, x + request.width))
        video, mask = render([self.scene(row)], times, height, width, trails=True)
        return {"video": video[window].clone(), "mask": mask[window].clone()}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_scenes": {}}


class SyntheticClips(_Scenes):
    """Rendered clips of 15/8 seconds: 16 frames at 8 a second, or 61 at 32, are the whole of one.

    Without `fps` a request gets the whole clip, evenly sampled; with it a random window. camera_share: how many of
    the clips are seen by a moving camera.
    """

    def __init__(
        self,
        count: int = COUNT,
        seed: int = 0,
        held_out: bool = False,
        camera_share: float = 0.1,
        name: str = "synthetic",
    ) -> None:
        super().__init__(count, seed, held_out, name)
        self.camera_share = camera_share

    def _draw(self, generator: torch.Generator) -> Scene:
        scene = sample_scene(generator, self.held_out)
        if uniform(generator) < self.camera_share:
            return replace(scene, camera=CAMERAS[1 + draw(generator, len(CAMERAS) - 1)])
        return scene

    def caption(self, row: int, generator: torch.Generator) -> str:
        return caption(self.scene(row), generator)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        text, name = self.caption(row, generator), f"{self.name}, clip {row}"
        times = self._times(name, request, generator)
        return Clip(text, name, self._render(row, times, request, generator))

    def _times(self, name: str, request: ClipRequest, generator: torch.Generator) -> Tensor:
        frames = request.num_frames
        if request.fps is None:
            return frame_times(frames) if frames > 1 else torch.tensor([uniform(generator)])
        length = (frames - 1) / request.fps / SECONDS
        if length > 1 + 1e-6:
            raise UnreadableClip(name, f"{frames} frames at {request.fps:g} a second last longer than {SECONDS:g} s")
        start = uniform(generator, 0, max(0, 1 - length))
        return torch.linspace(start, start + length, frames).clamp(0, 1)


class SyntheticCourses(SyntheticClips):
    """Clips that begin anywhere on a longer course: what goes on from the last frame of another clip looks like this.

    What travels may leave the image.
    """

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        text, name = self.caption(row, generator), f"{self.name}, clip {row}"
        latest = LATEST_START[self.scene(row).motion in LASTING]
        times = self._times(name, request, generator) + uniform(generator, 0, latest)
        return Clip(text, name, self._render(row, times, request, generator))


class SyntheticStills(_Scenes):
    """Rendered images at a random moment of a clip.

    still_colours: the share of images that show one of the colours which no clip has. still_captions: the share of
    captions, drawn anew on every reading, that have no words of motion.
    """

    def __init__(
        self,
        count: int = COUNT,
        seed: int = 0,
        held_out: bool = False,
        still_colours: float = 0.3,
        still_captions: float = 0.3,
        name: str = "synthetic-stills",
    ) -> None:
        super().__init__(count, seed, held_out, name)
        self.still_colours, self.still_captions = still_colours, still_captions

    def _draw(self, generator: torch.Generator) -> Scene:
        special = uniform(generator) < self.still_colours
        colour = STILL_COLOURS[draw(generator, len(STILL_COLOURS))] if special else None
        return sample_scene(generator, self.held_out, colour=colour)

    def caption(self, row: int, generator: torch.Generator) -> str:
        return caption(self.scene(row), generator, still=uniform(generator) < self.still_captions)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        if request.num_frames != 1:
            raise UsageError(f"{self.name} holds images; clips of {request.num_frames} frames cannot be read of it.")
        text = self.caption(row, generator)
        times = torch.tensor([uniform(generator)])
        return Clip(text, f"{self.name}, image {row}", self._render(row, times, request, generator))


KINDS: dict[str, type[SyntheticClips | SyntheticStills]] = {
    "synthetic": SyntheticClips,
    "synthetic-courses": SyntheticCourses,
    "synthetic-stills": SyntheticStills,
}


def open_rendered(spec: str) -> tuple[ClipSource, bool]:
    """The source `KIND[:COUNT[:SEED]]`, and whether it holds images only.

    Raises:
        UsageError: COUNT or SEED is no whole number.
    """
    kind, *numbers = spec.split(":")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise UsageError(f"'{spec}' is not of the form {kind}:COUNT:SEED with two whole numbers.")
    count, seed = [*map(int, numbers), *(COUNT, 0)[len(numbers) :]]
    return KINDS[kind](count, seed, name=spec), KINDS[kind] is SyntheticStills
