"""LaVie Base Sampler: text to video, and video to video."""

from __future__ import annotations

from typing import Any, ClassVar

from ..lavie.config import StageConfig
from ..lavie.pipelines.text_to_video import sample_text_to_video
from ..lavie.runtime.fallback import attempts
from ..lavie.runtime.memory import activation_bytes
from ..lavie.sampling import Known
from . import host
from .inputs import (
    GUIDANCE_SCALE,
    HEIGHT,
    NUM_FRAMES,
    SAMPLER,
    SEED,
    SPACING,
    STEPS,
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
                "seed": SEED,
                "steps": STEPS,
                "guidance_scale": GUIDANCE_SCALE,
                "sampler": SAMPLER,
                "spacing": SPACING,
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
                )
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
    ) -> tuple[dict, float]:
        info = stage_of(model, "base")
        config = info.config.replaced(
            **sampling_settings(steps, guidance_scale, sampler, spacing),
            num_frames=own(num_frames, 0),
            width=own(width, 0),
            height=own(height, 0),
        )
        initial = known = None
        if latent is not None:
            initial = base_latents(latent) * info.scaling_factor
            known = known_part(latent, initial)
        batch, size = (1, (config.num_frames, config.height // 8, config.width // 8))
        if initial is not None:
            batch, size = len(initial), tuple(initial.shape[2:])
        unet, text = model.model.diffusion_model, text_condition(positive, negative, model)
        device = host.load(model, activation_bytes(unet, (2 * batch, 4, *size)))
        progress = host.Progress(model)

        def run(attempt: Any) -> Any:
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
            samples = host.first_that_fits(_attempts(config, size), run, ADVICE)
        return latent_of((samples / info.scaling_factor).to(host.storage_device())), info.config.fps


def _attempts(config: StageConfig, size: tuple[int, ...]) -> Any:
    return attempts(config, *size, windowed=False)


def known_part(latent: dict, samples: Any) -> Known | None:
    """What the noise mask of a LATENT keeps: a mask [frames, H, W] or [H, W] in pixels, 1 where to repaint."""
    mask = latent.get("noise_mask")
    if mask is None:
        return None
    return Known.from_mask(samples, mask)


NODES = {"LaVieBaseSampler": (LaVieBaseSampler, "LaVie Base Sampler")}
