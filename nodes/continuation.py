"""LaVie Image to Video and LaVie Transition: new frames after or between given ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.config import MAX_FRAMES
from ..lavie.errors import UsageError
from ..lavie.job import Job
from ..lavie.long_video import METHODS
from ..lavie.long_video.conditioned import continued
from ..lavie.pipelines.resize import RESIZES, resized
from ..lavie.pipelines.transition import sample_transition
from ..lavie.stages import MASK, STAGES, VAE_FACTOR
from .inputs import even, in_size_of, padded
from .node import FPS
from .sampler import SAMPLING, WIRES, Run, SamplerNode
from .vae import require_vae
from .widgets import choice, integer, socket

ADVICE = "Make fewer frames, use smaller images, or choose float16 in LaVie Loader."
EITHER = socket("MODEL", "LaVie's extension stage, which is made for this, or its base stage.")
VAE = socket("VAE", "The VAE of the same LaVie Loader.")


class LaVieImageToVideo(SamplerNode):
    """Animates an image, or continues a video from its last frames, for as long as you like. With the extension MODEL
    (section 5.6 of the paper) every 15 frames start from the last frame before them."""

    title = STAGES["extension"].node
    advice = ADVICE
    SEARCH_ALIASES: ClassVar = ["lavie i2v", "i2v", "image to video", "animate image"]
    outputs: ClassVar = {"images": ("IMAGE", "The input frames, unchanged, and the new ones."), "fps": FPS}
    stages = ("extension", "base")
    methods = ("conditioned", "replacement")
    required = (*WIRES, "vae", "images", "num_frames", "context_frames", *SAMPLING)
    optional = ("anchor", "resize", "speed", "seam_frames")
    inputs: ClassVar = {
        "model": EITHER,
        "vae": VAE,
        "images": socket("IMAGE", "An image, or the frames of a video. They set the size of the new frames."),
        "num_frames": integer(15, 1, MAX_FRAMES, "How many frames to add. An extension MODEL makes 15 at a time."),
        "context_frames": integer(
            1,
            1,
            64,
            "How many of the last frames the new ones follow. The paper's form takes 1; SEINE's mask form takes more.",
        ),
        "resize": choice(
            ["keep", *RESIZES],
            "keep",
            "keep: the images set the size. crop and stretch bring them to the model's own size.",
        ),
    }

    def make(self, run: Run, vae: Any, images: Tensor, num_frames: int, resize: str = "keep") -> tuple[Tensor, float]:
        require_vae(vae, VAE_FACTOR, self.title)
        by_stage = {METHODS[name].stage or "base": METHODS[name] for name in self.methods}
        method = by_stage[run.info.stage]
        settings = run.settings(method)
        images = even(images)
        if resize != "keep":
            images = resized(images, (run.config.height, run.config.width), resize)
        context = run.encoded(vae, padded(images[-settings.context_frames :]))
        settings = replace(settings, context_frames=context.shape[2])
        grey = _grey(run, vae, images)

        def sample(job: Job) -> Tensor:
            if method.stage:
                return continued(job, context, num_frames, settings, grey)
            return method.continued(job, context, num_frames, settings)

        run = run.part(len(images) + num_frames, slice(len(images) - context.shape[2], None))
        size = (run.config.clip_frames, *context.shape[3:])
        added = in_size_of(images, run.decoded(vae, run.sampled(sample, size, run.generators())))
        return torch.cat((images[..., :3].to(added), added)), run.info.config.fps


class LaVieTransition(SamplerNode):
    """Makes new frames that lead from the end of one video to the beginning of another, following the prompt. The same
    video on both sides closes a loop."""

    title = "LaVie Transition"
    advice = ADVICE
    SEARCH_ALIASES: ClassVar = ["lavie transition", "morph", "loop", "first last frame", "join videos", "seine"]
    outputs: ClassVar = {
        "images": ("IMAGE", "The whole video: first, new frames, second."),
        "transition": ("IMAGE", "The new frames alone."),
        "fps": FPS,
    }
    stages = ("extension", "base")
    required = (*WIRES, "vae", "first", "second", "num_frames", "context_frames", *SAMPLING)
    optional = ("resize", "speed")
    inputs: ClassVar = {
        "model": EITHER,
        "vae": VAE,
        "first": socket("IMAGE", "The video or image to start from."),
        "second": socket("IMAGE", "The video or image to end with, in the size of the first."),
        "num_frames": integer(8, 1, MAX_FRAMES, "How many frames to add between them."),
        "context_frames": integer(4, 1, 64, "How many frames on each side the new ones must match."),
        "resize": choice(
            ["refuse", *RESIZES],
            "refuse",
            "If second differs in size from first: refuse it, crop it or stretch it to that size.",
        ),
    }

    def make(
        self,
        run: Run,
        vae: Any,
        first: Tensor,
        second: Tensor,
        num_frames: int,
        context_frames: int,
        resize: str = "refuse",
    ) -> tuple[Tensor, Tensor, float]:
        require_vae(vae, VAE_FACTOR, self.title)
        first, second = even(first), even(second)
        if resize != "refuse":
            second = resized(second, (first.shape[1], first.shape[2]), resize)
        if first.shape[1:3] != second.shape[1:3]:
            sizes = " and ".join(f"{images.shape[2]}×{images.shape[1]}" for images in (first, second))
            raise UsageError(f"first and second differ in size ({sizes}): set resize to crop or stretch.")
        sides = first[-context_frames:], second[:context_frames]
        before, after = (run.encoded(vae, padded(side)) for side in sides)
        grey = _grey(run, vae, first)

        shown = slice(len(first) - before.shape[2], len(first) + num_frames + after.shape[2])
        run = run.part(len(first) + num_frames + len(second), shown)
        size = (num_frames + before.shape[2] + after.shape[2], *before.shape[3:])
        made = run.sampled(lambda job: sample_transition(job, before, after, num_frames, grey), size, run.generators())
        between = in_size_of(first, run.decoded(vae, made))
        given, arrived = (images[..., :3].to(between) for images in (first, second))
        return torch.cat((given, between, arrived)), between, run.info.config.fps


def _grey(run: Run, vae: Any, images: Tensor) -> Tensor | None:
    """Scaled latents [1, 4, 1, h, w] of mid-grey, in the size of the images, for a UNet in the mask form."""
    if run.unet.config.in_channels != MASK:
        return None
    return run.encoded(vae, torch.full_like(padded(images[:1]), 0.5))
