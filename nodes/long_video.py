"""LaVie Autoregressive Extender and LaVie Long Video Sampler: more frames than the model makes at once."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch

from ..lavie.config import MAX_FRAMES
from ..lavie.long_video import METHODS, method_of
from ..lavie.long_video.clips import clip_shape
from ..lavie.pipelines.long_video import check_length
from . import host
from .inputs import base_latents, latent_of
from .node import FPS
from .sampler import SAMPLING, WIRES, Run, SamplerNode
from .widgets import choice, integer, socket

BY_BASE = tuple(name for name, method in METHODS.items() if not method.stage)


class LaVieAutoregressiveExtender(SamplerNode):
    """Continues a clip with the base MODEL: at every step its last frames stay in place while new ones form after them.
    Chain several with different prompts for a story. With one context frame it animates an image."""

    title = "LaVie Autoregressive Extender"
    SEARCH_ALIASES: ClassVar = ["lavie extend", "extend video", "continue video", "autoregressive"]
    outputs: ClassVar = {
        "latent": ("LATENT", "The whole video: the input frames, unchanged, and the new ones."),
        "fps": FPS,
    }
    stages = ("base",)
    methods = ("replacement",)
    required = (*WIRES, "latent", "num_frames", "context_frames", *SAMPLING)
    optional = ("resample", "drift_correction", "motion", "anchor", "speed", "seam_frames")
    inputs: ClassVar = {
        "latent": socket("LATENT", "The clip to continue, or one image from LaVie VAE Encode."),
        "num_frames": integer(12, 1, MAX_FRAMES, "How many frames to add, in as many rounds as needed."),
        "context_frames": integer(
            4, 1, 64, "How many of the last frames the new ones follow. More keep the motion, fewer allow more change."
        ),
    }

    def make(self, run: Run, latent: dict, num_frames: int) -> tuple[dict, float]:
        given, (method,) = base_latents(latent), (METHODS[name] for name in self.methods)
        scaled, settings = given * run.info.scaling_factor, run.settings(method)
        settings = replace(settings, context_frames=min(settings.context_frames, given.shape[2]))

        made = run.sampled(
            lambda job: method.continued(job, scaled, num_frames, settings),
            (run.config.clip_frames, *given.shape[3:]),
            run.generators(len(given)),
        )
        given = given.to(host.storage_device())  # unchanged, not scaled back and forth
        return latent_of(torch.cat((given, run.unscaled(made).to(given)), dim=2)), run.info.config.fps


class LaVieLongVideoSampler(SamplerNode):
    """Makes a video of any length from text with LaVie's base stage. Use LaVie Prompt Schedule to tell a story; method
    sets how the parts are held together."""

    title = "LaVie Long Video Sampler"
    SEARCH_ALIASES: ClassVar = ["lavie long", "long video", "freenoise", "fifo", "freelong", "free init"]
    outputs: ClassVar = {"latent": ("LATENT", "The video, for LaVie VAE Decode."), "fps": FPS}
    stages = ("base",)
    methods = BY_BASE
    required = (
        *WIRES,
        "num_frames",
        "method",
        "context_frames",
        *SAMPLING,
        "width",
        "height",
        "motion",
        "free_init_iterations",
        "resample",
        "drift_correction",
    )
    optional = ("anchor", "motion_injection", "speed", "seam_frames")
    inputs: ClassVar = {
        "positive": socket(
            "CONDITIONING", "From LaVie Prompt Schedule, or one prompt for all frames from LaVie Text Encode."
        ),
        "num_frames": integer(
            64, 1, MAX_FRAMES, "Frames of the whole video. Must equal num_frames of LaVie Prompt Schedule."
        ),
        "method": choice(BY_BASE, "replacement", " ".join(f"{name}: {METHODS[name].help}." for name in BY_BASE)),
    }

    def make(self, run: Run, num_frames: int, method: str) -> tuple[dict, float]:
        chosen = method_of(method)
        config, settings = run.config, run.settings(chosen)
        check_length(chosen, run.unet, config, num_frames)

        seen = num_frames if chosen.one_pass else min(num_frames, config.clip_frames)
        size = clip_shape(config, seen)[1:]
        made = run.sampled(lambda job: chosen.sample(job, num_frames, settings), size, run.generators())
        return latent_of(run.unscaled(made)), run.info.config.fps
