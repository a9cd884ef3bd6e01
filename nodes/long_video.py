"""LaVie Autoregressive Extender and LaVie Long Video Sampler: more frames than the model makes at once."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.config import MAX_FRAMES
from ..lavie.pipelines.extend import WINDOW, sample_extension
from ..lavie.pipelines.long_video import IN_ONE_PASS, TRAINING_FREE, check_length, method_settings
from ..lavie.runtime.fallback import Attempt, attempts
from ..lavie.runtime.memory import activation_bytes
from ..lavie.sampling.seam import SEAM_FRAMES
from . import host
from .inputs import (
    ANCHOR,
    HEIGHT,
    SAMPLING,
    SEAM,
    SPEED,
    WIDTH,
    base_latents,
    choice,
    integer,
    latent_of,
    number,
    own,
    sampling_settings,
    socket,
    stage_of,
    text_condition,
)
from .sampling import ADVICE, MODEL, NEGATIVE, POSITIVE

RESAMPLE = integer(1, 1, 20, "Above 1: every step is done so often, so that new frames fit the known ones; slower.")
DRIFT_CORRECTION = number(
    0.0, 0.0, 1.0, "How far colours, contrast and sharpness are drawn back to the first clip's.", step=0.05
)
MOTION = number(0.0, 0.0, 20.0, "Above 0: frames differ more; 1 to 5 is much (VSTAR).")


class LaVieAutoregressiveExtender:
    """Longer clips by the base model."""

    DESCRIPTION = (
        "Continues a clip: its last frames are kept at every denoising step while new ones are made after them, by "
        "the base MODEL. Chain several with different prompts for a story; one frame of context turns a picture into "
        "a video."
    )
    SEARCH_ALIASES: ClassVar = ["lavie extend", "long video", "continue video", "image to video", "autoregressive"]
    CATEGORY = "LaVie"
    FUNCTION = "extend"
    RETURN_TYPES = ("LATENT", "FLOAT")
    RETURN_NAMES = ("latent", "fps")
    OUTPUT_TOOLTIPS = ("The whole clip: the frames that came in, unchanged, and the new ones.", "Frames a second.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "model": MODEL,
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "latent": socket("LATENT", "The clip so far, or one picture by LaVie VAE Encode."),
                "num_frames": integer(12, 1, MAX_FRAMES, "New frames to add; as many rounds as it takes are made."),
                "context_frames": integer(
                    4, 1, 64, "Last frames that the new ones follow: more hold the motion, fewer allow more change."
                ),
                **SAMPLING,
            },
            "optional": {
                "resample": RESAMPLE,
                "drift_correction": DRIFT_CORRECTION,
                "motion": MOTION,
                "anchor": ANCHOR,
                "speed": SPEED,
                "seam_frames": SEAM,
            },
        }

    def extend(
        self,
        model: Any,
        positive: list,
        negative: list,
        latent: dict,
        num_frames: int,
        context_frames: int,
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        resample: int = 1,
        drift_correction: float = 0.0,
        motion: float = 0.0,
        anchor: float = 0.0,
        speed: str = "exact",
        seam_frames: int = SEAM_FRAMES,
    ) -> tuple[dict, float]:
        info = stage_of(model, "base", "LaVie Autoregressive Extender")
        config = info.config.at_speed(info.stage, speed).replaced(
            **sampling_settings(steps, guidance_scale, sampler, spacing)
        )
        samples = base_latents(latent) * info.scaling_factor
        unet, text = model.model.diffusion_model, text_condition(positive, negative, model)
        size = (config.num_frames, *samples.shape[3:])
        device = host.load(model, activation_bytes(unet, (2 * len(samples), 4, *size)))
        progress = host.Progress(model)

        def run(attempt: Attempt) -> Tensor:
            return sample_extension(
                host.network(model, text, len(samples)),
                text,
                samples,
                attempt.config,
                seed,
                device=device,
                num_frames=num_frames,
                context_frames=min(context_frames, samples.shape[2]),
                resample=resample,
                drift_correction=drift_correction,
                anchor=anchor,
                seam_frames=seam_frames,
                motion=motion,
                split=attempt.split,
                callback=progress.step,
            )

        with host.cancellable(unet):
            longer = host.first_that_fits(attempts(config, *size, windowed=False), run, ADVICE, unet)
        made = longer[:, :, samples.shape[2] :] / info.scaling_factor
        given = base_latents(latent).to(host.storage_device())  # as they came, not scaled there and back
        return latent_of(torch.cat((given, made.to(given)), dim=2)), info.config.fps


class LaVieLongVideoSampler:
    """Long videos from text, by the base model without training."""

    DESCRIPTION = (
        "A video of any length from text, by LaVie's base alone. LaVie Prompt Schedule tells a story; method says how "
        "the parts hold together."
    )
    SEARCH_ALIASES: ClassVar = ["lavie long", "long video", "freenoise", "fifo", "freelong", "film", "free init"]
    CATEGORY = "LaVie"
    FUNCTION = "sample"
    RETURN_TYPES = ("LATENT", "FLOAT")
    RETURN_NAMES = ("latent", "fps")
    OUTPUT_TOOLTIPS = ("The video, for LaVie VAE Decode.", "Frames a second.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "model": MODEL,
                "positive": socket("CONDITIONING", "LaVie Prompt Schedule, or one text for all: LaVie Text Encode."),
                "negative": NEGATIVE,
                "num_frames": integer(64, 1, MAX_FRAMES, "Frames of the whole video; as in LaVie Prompt Schedule."),
                "method": choice(
                    list(TRAINING_FREE),
                    "replacement",
                    "replacement: clip after clip, each knows the end of the one before. free_noise, free_long: all in "
                    "one pass (memory grows). fifo: frame by frame, slow and steady. independent: hard cuts.",
                ),
                "context_frames": integer(0, 0, 64, "Frames that clips or windows share. 0: the method's own."),
                **SAMPLING,
                "width": WIDTH,
                "height": HEIGHT,
                "motion": MOTION,
                "free_init_iterations": integer(
                    1, 1, 10, "Above 1: made so often, each time from calmer noise: steadier, and that much slower."
                ),
                "resample": RESAMPLE,
                "drift_correction": DRIFT_CORRECTION,
            },
            "optional": {
                "anchor": ANCHOR,
                "motion_injection": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "free_noise: later prompts change what happens, the first one keeps the look.",
                    },
                ),
                "speed": SPEED,
                "seam_frames": SEAM,
            },
        }

    def sample(
        self,
        model: Any,
        positive: list,
        negative: list,
        num_frames: int,
        method: str,
        context_frames: int,
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        width: int,
        height: int,
        motion: float,
        free_init_iterations: int,
        resample: int,
        drift_correction: float,
        anchor: float = 0.0,
        motion_injection: bool = False,
        speed: str = "exact",
        seam_frames: int = SEAM_FRAMES,
    ) -> tuple[dict, float]:
        info = stage_of(model, "base", "LaVie Long Video Sampler")
        config = info.config.at_speed(info.stage, speed).replaced(
            **sampling_settings(steps, guidance_scale, sampler, spacing), width=own(width, 0), height=own(height, 0)
        )
        settings = method_settings(
            method,
            config.num_frames or WINDOW,
            context_frames=own(context_frames, 0),
            resample=own(resample, 1),
            drift_correction=own(drift_correction, 0.0),
            anchor=own(anchor, 0.0),
            seam_frames=own(seam_frames, SEAM_FRAMES),
            motion_injection=own(motion_injection, False),
        )
        unet, text = model.model.diffusion_model, text_condition(positive, negative, model)
        check_length(method, unet, config, num_frames)
        seen = num_frames if method in IN_ONE_PASS else min(num_frames, config.num_frames or WINDOW)
        size = (seen, config.height // 8, config.width // 8)
        device = host.load(model, activation_bytes(unet, (2, 4, *size)))
        progress = host.Progress(model)

        def run(attempt: Attempt) -> Tensor:
            return TRAINING_FREE[method](
                host.network(model, text),
                text,
                attempt.config,
                [seed],
                device=device,
                num_frames=num_frames,
                motion=motion,
                free_init_iterations=free_init_iterations,
                split=attempt.split,
                callback=progress.step,
                **settings,
            )

        with host.cancellable(unet):
            samples = host.first_that_fits(attempts(config, *size, windowed=False), run, ADVICE, unet)
        return latent_of((samples / info.scaling_factor).to(host.storage_device())), info.config.fps


NODES = {
    "LaVieAutoregressiveExtender": (LaVieAutoregressiveExtender, "LaVie Autoregressive Extender"),
    "LaVieLongVideoSampler": (LaVieLongVideoSampler, "LaVie Long Video Sampler"),
}
