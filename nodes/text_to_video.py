"""LaVie Text to Video: from a prompt to a VIDEO in one node, by the nodes of each stage."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.checks import check_size
from ..lavie.config import BUNDLED, OWN, RELEASED, RELEASED_STAGES, Family, StageConfig, find_family
from ..lavie.errors import UsageError
from ..lavie.pipelines.parts import require_files, stand_ins
from ..lavie.schedulers import SCHEDULERS
from ..lavie.stages import CASCADE, STAGES
from . import host
from .loaders import ModelNode, cascade_of, load_stage, model_names, state_of
from .sampling import LaVieBaseSampler
from .text import LaVieTextEncode, require_prompt
from .vae import decode
from .video import LaVieTemporalInterpolator, LaVieVideoUpscaler
from .widgets import SEED, STAGE_KNOBS, Input, choice, given, integer, text, widget

BASE, INTERPOLATION, UPSCALER = CASCADE
CHOICES = tuple(" + ".join(stages) for stages in ((BASE,), (BASE, INTERPOLATION), (BASE, UPSCALER), CASCADE))
# The host's words for the base stage's settings, by which its own samplers ask for them.
LENGTH = {"length": "num_frames", "width": "width", "height": "height"}
SAMPLING = {"steps": "steps", "cfg": "guidance_scale", "sampler_name": "sampler", "scheduler": "spacing"}
WORDS = {**LENGTH, **SAMPLING, "speed": "speed"}
WORK = {"load": 1.0, "encode": 1.0, "decode": 2.0}  # shares of the progress bar; sampling has SAMPLED
SAMPLED = 8.0

Spans = dict[str, tuple[float, float]]


def _worded(words: dict[str, str], **changed: Any) -> dict[str, Input]:
    """The widgets of settings under the host's names; the tooltip gives the value that the model's own stands for."""
    families = {BUNDLED: find_family(BUNDLED).base, RELEASED: RELEASED_STAGES[BASE]}
    made = {}
    for word, name in words.items():
        knob = STAGE_KNOBS[name]
        own = {family: _shown(config, knob.name) for family, config in families.items()}
        told = [f"{value} for {family}" for family, value in own.items()]
        note = f"the model's own ({', '.join(told) if len({*own.values()}) > 1 else own[BUNDLED]})"
        made[word] = widget(knob, note, **changed)
    return made


def _shown(config: StageConfig, name: str) -> str:
    """A setting in words, the sampler's own spacing by its name."""
    value = getattr(config, name)
    if name == "spacing" and value == OWN:
        return SCHEDULERS[config.scheduler].spacings[0]
    return f"{value:g}" if isinstance(value, float) else str(value)


class LaVieTextToVideo(ModelNode):
    """Makes a video from a prompt, with nothing else to wire: connect Save Video and press Run. The same as the graph
    of LaVie's nodes: base, then interpolation and upscaler if stages says so. 0, −1 and default stand for the model's
    own settings."""

    title = "LaVie Text to Video"
    advice = "Lower length, width or height, or choose fewer stages."
    SEARCH_ALIASES: ClassVar = ["text to video", "t2v", "prompt to video", "generate video"]
    inputs: ClassVar = {
        "model": lambda: choice(
            model_names(),
            BUNDLED,
            "lavie-tiny comes with this pack. lavie stands for the authors' weights in models/lavie (see the help page "
            "of LaVie Loader). A file of yours takes the place of its stage among these.",
        ),
        "prompt": text(
            "a red ball moving right over green grass",
            "What the video should show. (word:1.3) weighs more, (word:0.7) less.",
            multiline=True,
            dynamicPrompts=True,
        ),
        "negative_prompt": text(
            "",
            "What the video should avoid, in all stages. Empty: each stage's own.",
            multiline=True,
            dynamicPrompts=True,
            advanced=True,
        ),
        "stages": choice(
            CHOICES,
            CHOICES[-1],
            "base: a short clip, quickly. interpolation: four times as many frames over the same time. upscaler: four "
            "times as wide and high.",
        ),
        **_worded(LENGTH),
        "batch_size": integer(
            1, 1, 64, "How many videos to make, one after the other: of this seed, the next, …", advanced=True
        ),
        "seed": SEED,
        **_worded(SAMPLING, advanced=True),
        **_worded({"speed": "speed"}),
    }
    outputs: ClassVar = {
        "video": ("VIDEO", "The video, for Save Video; with batch_size, several of them."),
        "images": ("IMAGE", "Its frames."),
        "fps": ("FLOAT", "Its frames per second."),
    }
    OUTPUT_IS_LIST = (True, True, True)

    def __init__(self) -> None:
        self._loaded: dict[str, tuple[Any, Any, Any]] = {}  # by stage, kept from run to run as a loader's outputs are
        self._state = ""

    def run(
        self,
        model: str,
        prompt: str,
        negative_prompt: str,
        stages: str,
        batch_size: int,
        seed: int,
        **settings: Any,
    ) -> tuple[list, ...]:
        family, chosen = cascade_of(model), stages.split(" + ")
        _check(family, chosen, prompt, settings)
        if self._state != state_of(model):
            self._loaded, self._state = {}, state_of(model)
        spans = _spans(chosen * batch_size)
        made = [
            self._video(family, chosen, (prompt, negative_prompt), (seed + clip) % 2**64, settings, spans)
            for clip in range(batch_size)
        ]
        return tuple(map(list, zip(*made, strict=True)))

    def _video(
        self,
        family: Family,
        stages: Sequence[str],
        prompts: tuple[str, str],
        seed: int,
        settings: dict[str, Any],
        spans: Iterator[Spans],
    ) -> tuple[Any, Tensor, float]:
        """VIDEO, IMAGE and frame rate of one, through all stages."""
        video: Any = None
        images, fps = torch.empty(0), 0.0
        for stage in stages:
            progress = partial(host.Progress, spans=next(spans), part=stage)
            model, clip, vae = self._parts(family, stage, progress())
            positive, negative = LaVieTextEncode().run(clip, *prompts)
            wires = {"model": model, "positive": positive, "negative": negative, "seed": seed}
            if stage == BASE:
                own = {WORDS[word]: value for word, value in settings.items()}
                latent, fps = LaVieBaseSampler(self.advice, progress).run(**wires, **own, denoise=1.0)
                images = decode(vae, latent["samples"], frames=progress(model).frames("decode"))
                video = host.make_video(images, Fraction(fps).limit_denominator(1001))
                continue
            wires |= {"vae": vae, "images": video, "fps": fps, "speed": settings["speed"]}
            if stage == INTERPOLATION:
                images, fps, video = LaVieTemporalInterpolator(self.advice, progress).run(**wires)
            else:
                images, video = LaVieVideoUpscaler(self.advice, progress).run(**wires)
        return video, images, fps

    def _parts(self, family: Family, stage: str, progress: host.Progress) -> tuple[Any, Any, Any]:
        if stage not in self._loaded:
            self._loaded[stage] = load_stage(family, stage, OWN, progress)
        return self._loaded[stage]


def _check(family: Family, stages: Sequence[str], prompt: str, settings: dict[str, Any]) -> None:
    """Refuse what cannot work before any work, in the words of the node; say what the model's own settings are.

    Raises:
        LavieError: a file of a stage is missing. UsageError: a setting that cannot work.
    """
    for stage in stages:
        require_files(family, family.stage(stage))
    require_prompt(prompt)
    knobs = {word: STAGE_KNOBS[name] for word, name in WORDS.items()}
    config = family.base.configured(BASE, **given(knobs, settings))
    check_size(config.height, config.width)
    sampler, spacing = config.scheduler, _shown(config, "spacing")
    if spacing not in SCHEDULERS[sampler].spacings:
        raise UsageError(
            f"The sampler {sampler} has no scheduler {spacing}. Set scheduler to {OWN}, or to one of: "
            f"{', '.join(SCHEDULERS[sampler].spacings)}."
        )
    needed = max(STAGES[stage].min_frames for stage in stages)
    if config.num_frames < needed:
        raise UsageError(
            f"length is {config.num_frames}, but interpolation needs at least {needed} frames. Raise length, or choose "
            "stages without it."
        )
    host.note(
        f"{family.name} makes {config.num_frames} frames of {config.width}×{config.height} in "
        f"{config.num_inference_steps} steps of {sampler} ({spacing}), cfg {config.guidance_scale:g}. "
        f"{stand_ins(family, stages)}".strip(),
        logging.INFO,
    )


def _spans(stages: Sequence[str]) -> Iterator[Spans]:
    """For each of these runs of a stage, which part of the bar its phases fill."""
    phases = [["load", *["encode"] * STAGES[stage].encodes, stage, "decode"] for stage in stages]
    whole, done = sum(WORK.get(phase, SAMPLED) for each in phases for phase in each), 0.0
    for each in phases:
        spans = {}
        for phase in each:
            start, done = done, done + WORK.get(phase, SAMPLED)
            spans[phase] = (start / whole, done / whole)
        yield spans
