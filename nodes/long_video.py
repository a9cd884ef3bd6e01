"""LaVie Autoregressive Extender: a clip goes on, with a new prompt if you like."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.config import MAX_FRAMES
from ..lavie.pipelines.extend import sample_extension
from ..lavie.runtime.fallback import Attempt, attempts
from ..lavie.runtime.memory import activation_bytes
from . import host
from .inputs import (
    SAMPLING,
    base_latents,
    integer,
    latent_of,
    sampling_settings,
    socket,
    stage_of,
    text_condition,
)
from .sampling import ADVICE, MODEL, NEGATIVE, POSITIVE


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
            }
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
    ) -> tuple[dict, float]:
        info = stage_of(model, "base", "LaVie Autoregressive Extender")
        config = info.config.replaced(**sampling_settings(steps, guidance_scale, sampler, spacing))
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
                split=attempt.split,
                callback=progress.step,
            )

        with host.cancellable(unet):
            longer = host.first_that_fits(attempts(config, *size, windowed=False), run, ADVICE)
        made = longer[:, :, samples.shape[2] :] / info.scaling_factor
        given = base_latents(latent).to(host.storage_device())  # as they came, not scaled there and back
        return latent_of(torch.cat((given, made.to(given)), dim=2)), info.config.fps


NODES = {"LaVieAutoregressiveExtender": (LaVieAutoregressiveExtender, "LaVie Autoregressive Extender")}
