"""LaVie Base Sampler: text to video, and video to video."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from ..lavie.pipelines.text_to_video import sample_text_to_video
from ..lavie.runtime.fallback import Attempt, attempts
from ..lavie.runtime.memory import activation_bytes
from ..lavie.sampling import Known
from . import host
from .inputs import (
    HEIGHT,
    NUM_FRAMES,
    SAMPLING,
    SPEED,
    WIDTH,
    base_latents,
    latent_of,
    number,
    own,
    sampling_settings,
    socket,
    stage_of,
    text_condition,
)

MODEL = socket("MODEL", "LaVie's base stage, from LaVie Loader; LoRA and model patches may come between.")
POSITIVE = socket("CONDITIONING", "What the video shows: LaVie Text Encode, or CLIP Text Encode.")
NEGATIVE = socket("CONDITIONING", "What it avoids.")
ADVICE = "Lower num_frames, width or height, or choose float16 in LaVie Loader."


class LaVieBaseSampler:
    """Stage 1 by LaVie's own sampling loop."""

    DESCRIPTION = (
        "Makes a clip from text: LaVie's base stage with its own settings, which 0, −1 and default stand for. With "
        "latents and denoise below 1 it repaints a video instead."
    )
    SEARCH_ALIASES: ClassVar = ["lavie sampler", "text to video", "t2v", "ksampler", "video to video"]
    CATEGORY = "LaVie"
    FUNCTION = "sample"
    RETURN_TYPES = ("LATENT", "FLOAT")
    RETURN_NAMES = ("latent", "fps")
    OUTPUT_TOOLTIPS = (
        "The clip, for LaVie VAE Decode (or VAE Decode with LaVie's VAE).",
        "Frames a second that the model makes, for Create Video or LaVie Temporal Interpolator.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "model": MODEL,
                "positive": POSITIVE,
                "negative": NEGATIVE,
                **SAMPLING,
                "num_frames": NUM_FRAMES,
                "width": WIDTH,
                "height": HEIGHT,
                "denoise": number(
                    1.0,
                    0.01,
                    1.0,
                    "1 makes a new video; less keeps that much more of the latents wired in.",
                    step=0.01,
                ),
            },
            "optional": {
                "latent": socket(
                    "LATENT",
                    "A video to start from; it then sets frames and size. Its noise mask says what to repaint.",
                ),
                "speed": SPEED,
            },
        }

    def sample(
        self,
        model: Any,
        positive: list,
        negative: list,
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        num_frames: int,
        width: int,
        height: int,
        denoise: float,
        latent: dict | None = None,
        speed: str = "exact",
    ) -> tuple[dict, float]:
        info = stage_of(model, "base")
        config = info.config.at_speed(info.stage, speed).replaced(
            **sampling_settings(steps, guidance_scale, sampler, spacing),
            num_frames=own(num_frames, 0),
            width=own(width, 0),
            height=own(height, 0),
        )
        initial = known = None
        if latent is not None:
            initial = base_latents(latent) * info.scaling_factor
            mask = latent.get("noise_mask")  # over pixels, 1 where to repaint
            known = None if mask is None else Known.from_mask(initial, mask)
        batch, size = 1, (config.num_frames, config.height // 8, config.width // 8)
        if initial is not None:
            batch, size = len(initial), tuple(initial.shape[2:])
        unet, text = model.model.diffusion_model, text_condition(positive, negative, model)
        device = host.load(model, activation_bytes(unet, (2 * batch, 4, *size)))
        progress = host.Progress(model)

        def run(attempt: Attempt) -> Tensor:
            return sample_text_to_video(
                host.network(model, text, batch),
                text,
                attempt.config,
                [(seed + clip) % 2**64 for clip in range(batch)],
                device=device,
                initial=initial,
                strength=denoise,
                known=known,
                split=attempt.split,
                callback=progress.step,
            )

        with host.cancellable(unet):
            samples = host.first_that_fits(attempts(config, *size, windowed=False), run, ADVICE, unet)
        return latent_of((samples / info.scaling_factor).to(host.storage_device())), info.config.fps


NODES = {"LaVieBaseSampler": (LaVieBaseSampler, "LaVie Base Sampler")}
