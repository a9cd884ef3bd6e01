"""The later stages of the cascade, for any video: temporal interpolation and super-resolution."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.config import COLOR_CORRECTIONS
from ..lavie.errors import UsageError
from ..lavie.pipelines.color_correction import check_color_correction, color_corrected
from ..lavie.pipelines.interpolate import sample_interpolation
from ..lavie.pipelines.upscale import sample_upscale
from ..lavie.runtime.fallback import Attempt, attempts
from ..lavie.runtime.memory import activation_bytes
from ..lavie.sampling import seeded
from . import host
from .inputs import (
    FPS,
    NOISE_LEVEL,
    OVERLAP,
    OWN,
    SAMPLING,
    SPEED,
    TILE,
    TILE_OVERLAP,
    WINDOW,
    choice,
    own,
    padded,
    sampling_settings,
    socket,
    stage_of,
    text_condition,
    video_of,
)
from .vae import decode, encode, require_vae

POSITIVE = socket("CONDITIONING", "What the video shows; an empty prompt does, too.")
NEGATIVE = socket("CONDITIONING", "What it avoids: the negative output of LaVie Text Encode holds the stage's own.")
ADVICE = "Lower window or tile, or make the video smaller."


class LaVieTemporalInterpolator:
    """Stage 2."""

    DESCRIPTION = (
        "Makes a video smoother: n frames become 4n − 3 over the same time, each synthesised anew. Takes any video, "
        "of any length; long ones go in windows that are blended."
    )
    SEARCH_ALIASES: ClassVar = ["lavie interpolation", "frame interpolation", "smooth video", "fps", "slow motion"]
    CATEGORY = "LaVie"
    FUNCTION = "interpolate"
    RETURN_TYPES = ("IMAGE", "FLOAT")
    RETURN_NAMES = ("images", "fps")
    OUTPUT_TOOLTIPS = ("4n − 3 frames.", "Their frames a second, for Create Video: three times those that came in.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "model": socket("MODEL", "LaVie's interpolation stage, from LaVie Loader."),
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "vae": socket("VAE", "The VAE of the same LaVie Loader, or any Stable Diffusion 1.x VAE."),
                "images": socket("IMAGE", "The frames of a video, two at least."),
                "fps": FPS,
                **SAMPLING,
                "window": WINDOW,
                "overlap": OVERLAP,
            },
            "optional": {"speed": SPEED},
        }

    def interpolate(
        self,
        model: Any,
        positive: list,
        negative: list,
        vae: Any,
        images: Tensor,
        fps: float,
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        window: int,
        overlap: int,
        speed: str = "exact",
    ) -> tuple[Tensor, float]:
        info = stage_of(model, "interpolation")
        require_vae(vae, 8, "LaVie Temporal Interpolator")
        if len(images) < 2:
            raise UsageError("The video has 1 frame; LaVie Temporal Interpolator needs at least 2.")
        config = info.config.at_speed(info.stage, speed).replaced(
            **sampling_settings(steps, guidance_scale, sampler, spacing), window=own(window), overlap=own(overlap)
        )
        height, width = images.shape[1:3]
        generator = seeded(seed)
        progress = host.Progress(model)
        keys = encode(vae, padded(images), generator, progress.frames("encode")) * info.scaling_factor
        unet, text = model.model.diffusion_model, text_condition(positive, negative, model)
        seen = 4 * (config.window or len(images)) - 3
        device = host.load(model, activation_bytes(unet, (2, 8, min(seen, 4 * len(images) - 3), *keys.shape[3:])))

        def run(attempt: Attempt) -> Tensor:
            generators = [_again(generator)]
            return sample_interpolation(
                host.network(model, text),
                text,
                keys,
                attempt.config,
                generators,
                device=device,
                split=attempt.split,
                callback=progress.step,
            )

        with host.cancellable(unet):
            tries = attempts(config, len(images), *keys.shape[3:], windowed=True)
            latents = host.first_that_fits(tries, run, ADVICE, unet)
        frames = decode(vae, latents / info.scaling_factor, frames=progress.frames("decode"))
        return frames[:, :height, :width], fps * info.config.fps / 8


class LaVieVideoUpscaler:
    """Stage 3."""

    DESCRIPTION = (
        "Makes a video four times as wide and high, and invents the detail. Takes any video; long and large ones go "
        "in windows of frames and tiles of the picture that are blended."
    )
    SEARCH_ALIASES: ClassVar = ["lavie upscaler", "video super resolution", "upscale video", "vsr", "x4"]
    CATEGORY = "LaVie"
    FUNCTION = "upscale"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_TOOLTIPS = ("As many frames, four times as wide and high.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "model": socket("MODEL", "LaVie's upscaler stage, from LaVie Loader."),
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "vae": socket("VAE", "The VAE of the same LaVie Loader: it has 4 pixels per latent pixel, not 8."),
                "images": socket("IMAGE", "The frames of a video, or one picture."),
                **SAMPLING,
                "noise_level": NOISE_LEVEL,
                "window": WINDOW,
                "overlap": OVERLAP,
                "tile": TILE,
                "tile_overlap": TILE_OVERLAP,
            },
            "optional": {
                "color_correction": choice(
                    [OWN, *COLOR_CORRECTIONS],
                    OWN,
                    "wavelet: keep the colours of the input. default: the model's own.",
                ),
                "speed": SPEED,
            },
        }

    def upscale(
        self,
        model: Any,
        positive: list,
        negative: list,
        vae: Any,
        images: Tensor,
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        noise_level: int,
        window: int,
        overlap: int,
        tile: int,
        tile_overlap: int,
        color_correction: str = OWN,
        speed: str = "exact",
    ) -> tuple[Tensor]:
        info = stage_of(model, "upscaler")
        require_vae(vae, 4, "LaVie Video Upscaler")
        config = info.config.at_speed(info.stage, speed).replaced(
            **sampling_settings(steps, guidance_scale, sampler, spacing),
            noise_level=own(noise_level),
            window=own(window),
            overlap=own(overlap),
            tile=own(tile),
            tile_overlap=own(tile_overlap),
            color_correction=None if color_correction == OWN else color_correction,
        )
        check_color_correction(config.color_correction)
        video = video_of(images)
        unet, text = model.model.diffusion_model, text_condition(positive, negative, model)
        frames, *size = video.shape[2:]
        seen = (min(config.window or frames, frames), *(min(config.tile or side, side) for side in size))
        device = host.load(model, activation_bytes(unet, (2, 7, *seen)))
        progress = host.Progress(model)
        used = config

        def run(attempt: Attempt) -> Tensor:
            nonlocal used
            used = attempt.config
            return sample_upscale(
                host.network(model, text),
                text,
                video,
                attempt.config,
                [seeded(seed)],
                device=device,
                split=attempt.split,
                callback=progress.step,
            )

        with host.cancellable(unet):
            tries = attempts(config, frames, *size, windowed=True)
            latents = host.first_that_fits(tries, run, ADVICE, unet)
        keys = config.speed.vae_keys
        enlarged = decode(vae, latents / info.scaling_factor, used.tile, progress.frames("decode"), keys)
        return (_color_corrected(enlarged, images[..., :3], config.color_correction),)


def _color_corrected(enlarged: Tensor, images: Tensor, name: str) -> Tensor:
    """`color_corrected` on IMAGE [frames, height, width, 3], a frame at a time and in place."""
    for index in range(len(enlarged) if name != "none" else 0):
        large, small = (frames[index : index + 1].movedim(-1, 1) for frames in (enlarged, images))
        enlarged[index] = color_corrected(large, small, name)[0].movedim(0, -1).clamp(0, 1)
    return enlarged


def _again(generator: torch.Generator) -> torch.Generator:
    """A generator in the same state, so that every attempt draws the same noise."""
    return torch.Generator().set_state(generator.get_state())


NODES = {
    "LaVieTemporalInterpolator": (LaVieTemporalInterpolator, "LaVie Temporal Interpolator"),
    "LaVieVideoUpscaler": (LaVieVideoUpscaler, "LaVie Video Upscaler"),
}
