"""What all sampling nodes share: widgets, settings, and a run that fits into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ..lavie.config import MATCHED, STRETCH, StageConfig
from ..lavie.job import Job, seeded_generators
from ..lavie.long_video import LongVideoSettings, Method
from ..lavie.runtime.fallback import Attempt, attempts
from ..lavie.runtime.memory import activation_bytes
from ..lavie.sampling import TextCondition
from ..lavie.stages import STAGES, StageSpec
from . import host, widgets
from .adapters import StageInfo
from .control import networks, running, wired_controls
from .inputs import stage_of, text_condition
from .node import Node
from .vae import decode, encode
from .wired import refuse_unused

MODEL = widgets.socket("MODEL", "LaVie's base stage, from LaVie Loader. LoRAs and model patches can go in between.")
POSITIVE = widgets.socket("CONDITIONING", "What the video should show: from LaVie Text Encode or CLIP Text Encode.")
NEGATIVE = widgets.socket("CONDITIONING", "What the video should avoid.")
WIRES = ("model", "positive", "negative")
SAMPLING = ("seed", "steps", "guidance_scale", "sampler", "spacing")
BASE_ADVICE = "Make fewer frames, lower width or height, or choose float16 in LaVie Loader."

Result = TypeVar("Result")


class SamplerNode(Node):
    """A node that samples with LaVie's own loop.

    A subclass names the stages it takes (the first is the one it is made for), the long-video methods it offers, and
    its inputs in the order in which workflow files store their values. `inputs` describes the inputs that are not
    settings of the stage; `make(run, …)` gets them by name and returns the outputs.
    """

    advice = BASE_ADVICE
    stages: ClassVar[tuple[str, ...]]
    methods: ClassVar[tuple[str, ...]] = ()
    required: ClassVar[tuple[str, ...]]

    def __init__(self, advice: str = "", progress: Callable[[Any], host.Progress] = host.Progress) -> None:
        """As ComfyUI does, without arguments; or for a node of several stages, whose advice and progress these are."""
        self._advice, self._progress = advice or self.advice, progress

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, Any]]:  # noqa: N802 (ComfyUI's name)
        of_stage, of_method = widgets.stage_knobs(cls.stages), widgets.method_knobs(cls.methods)
        known = {"model": MODEL, "positive": POSITIVE, "negative": NEGATIVE, "seed": widgets.SEED}
        known |= {name: widgets.widget(knob) for name, knob in of_stage.items()}
        known |= {name: widgets.method_widget(knob, cls.methods) for name, knob in of_method.items()}
        known |= cls.inputs
        own = (*cls.required, *cls.optional)
        newer = [name for name in widgets.NEWER if name in {**of_stage, **of_method} and name not in own]
        return {
            "required": {name: known[name] for name in cls.required},
            "optional": {name: known[name] for name in (*cls.optional, *newer)},
        }

    def run(self, model: Any, positive: list, negative: list, seed: int, **inputs: Any) -> tuple:
        info = stage_of(model, self.stages, self.title)
        of_stage = {name: knob for name, knob in widgets.stage_knobs(self.stages).items() if name not in self.inputs}
        of_method = widgets.method_knobs(self.methods)
        asked = widgets.given(of_method, inputs)
        config = info.config.configured(info.stage, **widgets.given(of_stage, inputs))
        wires = {"positive": positive, "negative": negative}
        refuse_unused(model, {name: [options for _, options in each] for name, each in wires.items()}, self.title)
        text = text_condition(positive, negative, model)
        matched = config.control_timestep == MATCHED
        text = replace(text, controls=wired_controls(positive[0][1], negative[0][1], matched))
        run = Run(model, info, config, text, seed, asked, self._progress(model), self._advice)
        rest = {name: value for name, value in inputs.items() if name not in {**of_stage, **of_method}}
        return self.make(run, **rest)

    def make(self, run: Run, **inputs: Any) -> tuple:
        raise NotImplementedError


@dataclass(frozen=True)
class Run:
    """One run of a sampling node. `asked`: the long-video settings set on its widgets."""

    model: Any
    info: StageInfo
    config: StageConfig
    text: TextCondition
    seed: int
    asked: dict[str, Any]
    progress: host.Progress
    advice: str

    @property
    def unet(self) -> Any:
        return self.model.model.diffusion_model

    @property
    def spec(self) -> StageSpec:
        return STAGES[self.info.stage]

    def part(self, num_frames: int, frames: slice) -> Run:
        """The run for these frames of a video of `num_frames`: its texts are for them alone, its controls for all."""
        return replace(self, text=self.text.part(num_frames, frames, self.config.control_frames == STRETCH))

    def settings(self, method: Method) -> LongVideoSettings:
        """Of a long-video method."""
        return method.settings(self.config.clip_frames, **self.asked)

    def generators(self, clips: int = 1) -> list[torch.Generator]:
        """Fresh generators: the seed for the first clip, the next seed for the next one."""
        return seeded_generators([(self.seed + clip) % 2**64 for clip in range(clips)])

    def sampled(
        self, sample: Callable[[Job], Result], size: Sequence[int], generators: list[torch.Generator]
    ) -> Result:
        """The result of `sample` in the first attempt that memory allows; every attempt draws the same noise.

        Args:
            size: frames of the stage's input, height and width of its latents.
        """
        seen = _seen_at_once(self.config, self.spec, size)
        needed = activation_bytes(self.unet, (2 * len(generators), 4, *seen))
        device = host.load(self.model, needed, networks(self.text.controls))
        keywords = host.keywords(self.model)

        def run(attempt: Attempt) -> Result:
            job = Job(
                self.unet,
                self.text,
                attempt.config,
                [generator.clone_state() for generator in generators],
                device,
                sequential_guidance=attempt.sequential_guidance,
                keywords=keywords,
                callback=self.progress.step,
            )
            return sample(job)

        with host.cancellable(self.unet), running(self.model, self.text.controls):
            return host.run_within_memory(attempts(self.config, self.spec, *size), run, self.advice, self.unet)

    def encoded(self, vae: Any, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Scaled latents [1, 4, frames, h, w] of IMAGE, whose sides are divisible by 8."""
        return encode(vae, images, generator, self.progress.frames("encode")) * self.info.scaling_factor

    def decoded(self, vae: Any, latents: Tensor, tile: int = 0) -> Tensor:
        """IMAGE of scaled latents; tile in latent pixels."""
        keys = self.config.speed.vae_keys
        return decode(vae, latents / self.info.scaling_factor, tile, self.progress.frames("decode"), keys)

    def unscaled(self, latents: Tensor) -> Tensor:
        """Scaled latents as unscaled ones for a LATENT, on the host's storage device."""
        return (latents / self.info.scaling_factor).to(host.storage_device())


def _seen_at_once(config: StageConfig, spec: StageSpec, size: Sequence[int]) -> tuple[int, int, int]:
    """Frames, height and width of the latents of one evaluation, for a stage's input of this size."""
    frames, height, width = size
    window, tile = min(config.window or frames, frames), config.tile
    return spec.frames_made(window), min(tile or height, height), min(tile or width, width)
