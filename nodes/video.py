"""Interpolation and upscaler, for any video."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

from torch import Tensor

from ..lavie.pipelines.color_correction import color_corrected
from ..lavie.pipelines.interpolate import sample_interpolation
from ..lavie.pipelines.upscale import sample_upscale
from ..lavie.stages import STAGES
from ..lavie.video import check_frame_rate
from . import host
from .inputs import check_images, even, in_size_of, padded, parts_of, video_of
from .sampler import SAMPLING, WIRES, Run, SamplerNode
from .vae import require_vae
from .widgets import number, socket

POSITIVE = socket("CONDITIONING", "What the video shows. An empty prompt works, too.")
NEGATIVE = socket(
    "CONDITIONING", "What the video should avoid. An empty negative prompt in LaVie Text Encode gives the stage's own."
)
VIDEO = ("VIDEO", "The same as a VIDEO, with the sound of the input if that was one. For Save Video.")
ADVICE = "Lower window or tile, or make the video smaller."
INTERPOLATION, UPSCALER = STAGES["interpolation"], STAGES["upscaler"]


class LaVieTemporalInterpolator(SamplerNode):
    """Makes a video smoother: n frames become 4n − 3 over the same time, all of them made anew. Takes any video of any
    length and keeps its sound; long ones are processed in blended windows."""

    title = INTERPOLATION.node
    advice = ADVICE
    SEARCH_ALIASES: ClassVar = [
        "lavie interpolation",
        "temporal interpolator",
        "frame interpolation",
        "smooth video",
        "fps",
        "slow motion",
    ]
    outputs: ClassVar = {
        "images": ("IMAGE", "4n − 3 frames."),
        "fps": ("FLOAT", "Their frames per second, for Create Video: they last as long as the input."),
        "video": VIDEO,
    }
    stages = ("interpolation",)
    required = (*WIRES, "vae", "images", "fps", *SAMPLING, "window", "overlap")
    optional = ("speed", "guidance_rescale", "output_fps")
    inputs: ClassVar = {
        "model": socket("MODEL", "LaVie's interpolation stage, from LaVie Loader."),
        "positive": POSITIVE,
        "negative": NEGATIVE,
        "vae": socket("VAE", "The VAE of the same LaVie Loader, or any Stable Diffusion 1.x VAE."),
        "images": socket("IMAGE,VIDEO", "A VIDEO, or its frames as IMAGE: at least two."),
        "fps": number(8.0, 0.01, 1000.0, "Frames per second of an IMAGE; a VIDEO brings its own.", step=1.0),
        "output_fps": number(
            0.0,
            0.0,
            1000.0,
            "Frames per second of the output. 0: it lasts as long as the input. LaVie's authors take three times the "
            "input's, 24 for 8, which lasts a quarter longer.",
            step=1.0,
        ),
    }

    def make(self, run: Run, vae: Any, images: Any, fps: float, output_fps: float = 0.0) -> tuple[Tensor, float, Any]:
        require_vae(vae, INTERPOLATION.vae_factor, self.title)
        given = parts_of(images, fps)
        check_images(given.images, INTERPOLATION.min_frames)
        rate = Fraction(output_fps).limit_denominator(1001) or given.frame_rate * Fraction(
            INTERPOLATION.frames_made(len(given.images)), len(given.images)
        )
        check_frame_rate(float(rate))
        images = even(given.images)
        generators = run.generators()
        key_frames = run.encoded(vae, padded(images), *generators)

        made = run.sampled(lambda job: sample_interpolation(job, key_frames), key_frames.shape[2:], generators)
        frames = in_size_of(images, run.decoded(vae, made))
        return frames, float(rate), host.make_video(frames, rate, given.audio)


class LaVieVideoUpscaler(SamplerNode):
    """Makes a video four times as wide and high and invents the detail. Takes any video and keeps its sound; long and
    large ones go in blended windows of frames and tiles of the image."""

    title = UPSCALER.node
    advice = ADVICE
    SEARCH_ALIASES: ClassVar = ["lavie upscaler", "video super resolution", "upscale video", "vsr", "x4"]
    outputs: ClassVar = {
        "images": ("IMAGE", "The same number of frames, four times as wide and high."),
        "video": VIDEO,
    }
    stages = ("upscaler",)
    required = (*WIRES, "vae", "images", *SAMPLING, "noise_level", "window", "overlap", "tile", "tile_overlap")
    optional = ("color_correction", "speed", "chunks", "guidance_rescale", "fps")
    inputs: ClassVar = {
        "model": socket("MODEL", "LaVie's upscaler stage, from LaVie Loader."),
        "positive": POSITIVE,
        "negative": NEGATIVE,
        "vae": socket("VAE", "The VAE of the same LaVie Loader. It has 4 pixels per latent pixel, not 8."),
        "images": socket("IMAGE,VIDEO", "A VIDEO, or its frames as IMAGE, or one image."),
        "fps": number(
            8.0, 0.01, 1000.0, "Frames per second of an IMAGE, for the output video; a VIDEO brings its own.", step=1.0
        ),
    }

    def make(self, run: Run, vae: Any, images: Any, fps: float = 8.0) -> tuple[Tensor, Any]:
        require_vae(vae, UPSCALER.vae_factor, self.title)
        given = parts_of(images, fps)
        images = given.images
        video = video_of(images)

        latents, tile = run.sampled(
            lambda job: (sample_upscale(job, video), job.config.tile), video.shape[2:], run.generators()
        )
        enlarged = run.decoded(vae, latents, tile)
        enlarged = _color_corrected(enlarged, images[..., :3], run.config.color_correction)
        return enlarged, host.make_video(enlarged, given.frame_rate, given.audio)


def _color_corrected(enlarged: Tensor, images: Tensor, name: str) -> Tensor:
    """`color_corrected` on IMAGE [frames, height, width, 3], a frame at a time and in place."""
    for index in range(len(enlarged) if name != "none" else 0):
        large, small = (frames[index : index + 1].movedim(-1, 1) for frames in (enlarged, images))
        enlarged[index] = color_corrected(large, small, name)[0].movedim(0, -1).clamp(0, 1)
    return enlarged
