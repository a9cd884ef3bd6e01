"""`Job`: what every sampler gets. Which clips to make, with which network, text and settings, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor

from .checks import check_seed, check_texts
from .config import STRETCH, StageConfig
from .models import VideoUNet
from .runtime import storage_device
from .sampling import Schedule, StepCallback, TextCondition, create_schedule, denoise, free_init, guided, seeded
from .sampling.guidance import Predict
from .sampling.noise import Draw, clip_noise, derived_seed, segment_noise

# (stage, done, total, timestep, x0 estimate): after every evaluation of the network, of steps × windows in all; x0
# [batch, 4, f, h, w] comes after whole steps, and is None inside them and while a stage decodes. Raise
# `lavie.errors.Cancelled` in it to stop.
Callback = Callable[[str, int, int, float, Tensor | None], None]
WindowCallback = Callable[[float], None]


@dataclass(frozen=True)
class Job:
    """Everything that sampling needs, whatever the stage or method.

    unet: of any stage, on `device`. text: for all frames or per frame; for all clips or per clip. config: the stage's
    settings. generators: one on the CPU per clip; noise is drawn from their current state. draw: another source of the
    initial noise. sequential_guidance: evaluate the two halves of the guidance one after the other. keywords: see
    `sampling.guidance.evaluated`. callback: gets the progress.
    """

    unet: VideoUNet
    text: TextCondition
    config: StageConfig
    generators: list[torch.Generator]
    device: torch.device
    draw: Draw | None = None
    sequential_guidance: bool = False
    keywords: Callable[[Sequence[str]], dict[str, Any]] | None = None
    callback: Callback | None = None

    @classmethod
    def seeded(
        cls,
        unet: VideoUNet,
        text: TextCondition,
        config: StageConfig,
        seeds: Sequence[int],
        device: torch.device,
        **more: Any,
    ) -> Job:
        """One clip for each seed."""
        return cls(unet, text, config, seeded_generators(seeds), device, **more)

    def over(self, num_frames: int) -> Job:
        """The job for a video of that many frames: its texts are checked, its controls fitted to them.

        Raises:
            UsageError: there are texts, or images of a control, for another number of frames.
        """
        check_texts(self.text.frames, num_frames)
        return replace(self, text=self.text.over(num_frames, self.config.control_frames == STRETCH))

    def part(self, num_frames: int, frames: slice) -> Job:
        """The job for these frames of a video of `num_frames`: its texts are for them alone, its controls for all."""
        return replace(self, text=self.text.part(num_frames, frames, self.config.control_frames == STRETCH))

    def schedule(self, strength: float = 1.0) -> Schedule:
        """A fresh schedule with the stage's settings."""
        return schedule_of(self.config, strength)

    def noise(self, shape: tuple[int, ...], what: str = "latents", first: int = 0) -> Tensor:
        """Standard normal noise [batch, *shape] on `device`, or in main memory if the clip is very long.

        Args:
            shape: channels, frames, height, width.
            what, first: its purpose, and the first frame's position in the clip: see `Draw`.
        """
        noise = (self.draw or clip_noise(self.generators))(what, shape, first)
        return noise.to(storage_device(noise.numel(), self.device))

    def predictor(self, text: TextCondition | None = None, **inputs: Any) -> Predict:
        """The guided network; inputs: of `sampling.guidance.evaluated`."""
        return guided(
            self.unet,
            self.text if text is None else text,
            self.config,
            sequential_guidance=self.sequential_guidance,
            device=self.device,
            keywords=self.keywords,
            **inputs,
        )

    def progress(self, stage: str, total: int) -> tuple[WindowCallback | None, StepCallback | None]:
        """Callbacks for after a window inside a step and after a whole step; they count the evaluations done, of
        `total`."""
        callback = self.callback
        if callback is None:
            return None, None
        done = count(1)

        def after_window(timestep: float) -> None:
            callback(stage, next(done), total, timestep, None)

        def after_step(step: int, steps: int, timestep: float, x0: Tensor) -> None:
            callback(stage, next(done), total, timestep, x0)

        return after_window, after_step

    def denoise(
        self, predict: Predict, noise: Tensor, callback: StepCallback | None, iterations: int = 1, **options: Any
    ) -> Tensor:
        """`denoise` with the stage's schedule, `iterations` times in all, each time from refined noise; see
        `free_init`.

        options: of `denoise`.
        """

        def sample(noise: Tensor) -> Tensor:
            return denoise(predict, noise, self.schedule(), self.generators, callback, **options)

        return free_init(sample, noise, self.generators, iterations)


def schedule_of(config: StageConfig, strength: float = 1.0) -> Schedule:
    """A fresh schedule with a stage's settings; see `create_schedule`."""
    steps, prediction = config.num_inference_steps, config.prediction_type
    return create_schedule(config.scheduler, steps, config.spacing, prediction, strength)


def seeded_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One CPU generator per clip."""
    for seed in seeds:
        check_seed(seed)
    return [seeded(seed) for seed in seeds]


def segment_generators(seed: int, start: int | None) -> tuple[list[torch.Generator], Draw | None]:
    """For a segment that starts at `start`: its own generator, for schedulers that add noise, and its initial noise.
    For a whole video (None): its generator, from which that noise comes, too."""
    if start is None:
        return seeded_generators([seed]), None
    check_seed(seed)
    return [seeded(derived_seed(seed, "steps", start))], segment_noise(seed, start)
