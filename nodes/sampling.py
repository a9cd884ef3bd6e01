"""LaVie Base Sampler: text to video, and video to video."""

from __future__ import annotations

from typing import ClassVar

from ..lavie.long_video.clips import clip_shape
from ..lavie.pipelines.text_to_video import sample_text_to_video
from ..lavie.sampling import Known
from ..lavie.stages import STAGES
from .inputs import base_latents, latent_of
from .sampler import SAMPLING, WIRES, Run, SamplerNode
from .widgets import number, socket


class LaVieBaseSampler(SamplerNode):
    """Makes a clip from a prompt with LaVie's base stage. 0, −1 and default stand for the model's own settings. With a
    latent and denoise below 1 it repaints a video instead."""

    title = STAGES["base"].node
    SEARCH_ALIASES: ClassVar = ["lavie sampler", "ksampler", "video to video"]
    outputs: ClassVar = {
        "latent": ("LATENT", "The clip, for LaVie VAE Decode (or VAE Decode with LaVie's VAE)."),
        "fps": ("FLOAT", "Frames per second of the clip, for Create Video or LaVie Frame Interpolation."),
    }
    stages = ("base",)
    required = (*WIRES, *SAMPLING, "num_frames", "width", "height", "denoise")
    optional = ("latent", "speed")
    inputs: ClassVar = {
        "denoise": number(
            1.0, 0.01, 1.0, "1 makes a new video. Lower values keep more of the video in latent.", step=0.01
        ),
        "latent": socket(
            "LATENT",
            "A video to start from. It sets the number of frames and the size; its noise mask says what to repaint.",
        ),
    }

    def make(self, run: Run, denoise: float, latent: dict | None = None) -> tuple[dict, float]:
        initial, known, clips = None, None, 1
        size = clip_shape(run.config, run.config.num_frames)[1:]
        if latent is not None:
            initial = base_latents(latent) * run.info.scaling_factor
            clips, size = len(initial), initial.shape[2:]
            mask = latent.get("noise_mask")  # over pixels, 1 where to repaint
            known = None if mask is None else Known.from_mask(initial, mask)

        made = run.sampled(lambda job: sample_text_to_video(job, initial, denoise, known), size, run.generators(clips))
        return latent_of(run.unscaled(made)), run.info.config.fps
