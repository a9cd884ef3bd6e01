"""What the nodes' inputs have in common: their widgets, and the checks that turn them into what `lavie` takes.

A value of −1 (0 for frames, height and width, "default" for names) stands for the model's own setting.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..lavie.config import MAX_FRAMES, MAX_SIDE
from ..lavie.errors import UsageError
from ..lavie.sampling import SCHEDULERS, SPACINGS, TextCondition
from ..lavie.sampling.conditioning import MAX_NOISE_LEVEL
from ..lavie.sampling.seam import SEAM_FRAMES
from ..lavie.speed import SPEEDS
from .adapters import STAGE_NODES, StageInfo, check_width

OWN = "default"
PER_FRAME = "lavie_frames"  # in a CONDITIONING: a text for every frame, [1, frames, tokens, channels]
OWN_NOTE = " −1: the model's own."


def integer(default: int, least: int, most: int, tooltip: str, step: int = 1, **more: Any) -> tuple[str, dict]:
    return "INT", {"default": default, "min": least, "max": most, "step": step, "tooltip": tooltip, **more}


def number(default: float, least: float, most: float, tooltip: str, step: float = 0.1, **more: Any) -> tuple[str, dict]:
    options = {"default": default, "min": least, "max": most, "step": step, "round": 0.001, "tooltip": tooltip}
    return "FLOAT", {**options, **more}


def choice(values: list[str], default: str, tooltip: str) -> tuple[list[str], dict]:
    return values, {"default": default, "tooltip": tooltip}


def text(default: str, tooltip: str, **more: Any) -> tuple[str, dict]:
    return "STRING", {"default": default, "tooltip": tooltip, **more}


def socket(kind: str, tooltip: str) -> tuple[str, dict]:
    return kind, {"tooltip": tooltip}


SEED = integer(
    0,
    0,
    2**64 - 1,
    "The noise to start from: the same seed and settings give the same video.",
    control_after_generate=True,
)
STEPS = integer(-1, -1, 1000, "Denoising steps: more are slower and finer." + OWN_NOTE)
GUIDANCE_SCALE = number(
    -1.0, -1.0, 100.0, "How strongly the prompt is followed; 1 ignores the negative prompt." + OWN_NOTE
)
SAMPLER = choice([OWN, *SCHEDULERS], OWN, "How a step is taken. default: the model's own.")
SPACING = choice(list(SPACINGS), OWN, "How the steps are spread over the noise levels. default: the sampler's own.")
SAMPLING = {"seed": SEED, "steps": STEPS, "guidance_scale": GUIDANCE_SCALE, "sampler": SAMPLER, "spacing": SPACING}
NUM_FRAMES = integer(0, 0, MAX_FRAMES, "Frames to make. 0: the model's own (LaVie: 16).")
WIDTH = integer(0, 0, MAX_SIDE, "Width in pixels, divisible by 8. 0: the model's own (LaVie: 512).", step=8)
HEIGHT = integer(0, 0, MAX_SIDE, "Height in pixels, divisible by 8. 0: the model's own (LaVie: 320).", step=8)
NOISE_LEVEL = integer(
    -1, -1, MAX_NOISE_LEVEL, "Noise added to the input: more lets the model invent more detail." + OWN_NOTE
)
WINDOW = integer(-1, -1, MAX_FRAMES, "Frames that are seen at once; fewer take less memory. 0: all at once." + OWN_NOTE)
OVERLAP = integer(-1, -1, MAX_FRAMES, "Frames that neighbouring windows share and blend." + OWN_NOTE)
TILE = integer(
    -1, -1, MAX_SIDE, "Edge of the tiles in input pixels; smaller take less memory. 0: no tiles." + OWN_NOTE, step=8
)
TILE_OVERLAP = integer(-1, -1, MAX_SIDE, "Input pixels that neighbouring tiles share and blend." + OWN_NOTE, step=8)
ANCHOR = number(
    0.0, 0.0, 1.0, "Above 0: later clips hold on to the first frame's colours and layout for longer.", step=0.05
)
SEAM = integer(
    SEAM_FRAMES, 0, 64, "Frames over which the jump fades out that a clip makes from the last one. 0: the jump stays."
)
SPEED = choice(
    list(SPEEDS),
    "exact",
    "balanced, fast: quicker, for some quality. steps and sampler count before theirs. exact: nothing is left out.",
)
FPS = number(8.0, 0.01, 1000.0, "Frames a second of the video that comes in.", step=1.0)


def own(value: float | str, mark: float | str = -1) -> Any:
    """None for the mark that stands for the model's own setting."""
    return None if value == mark else value


def sampling_settings(steps: int, guidance_scale: float, sampler: str, spacing: str) -> dict[str, Any]:
    """The widgets of every sampler, in the names of `StageConfig`.

    Raises:
        UsageError: zero steps.
    """
    if steps == 0:
        raise UsageError("steps is 0, but it takes at least one step to make a video. −1 takes the model's own number.")
    return {
        "num_inference_steps": own(steps),
        "guidance_scale": own(guidance_scale),
        "scheduler": own(sampler, OWN),
        "spacing": own(spacing, OWN),
    }


def stage_of(model: Any, stage: str, node: str = "") -> StageInfo:
    """What travels with a MODEL of LaVie; `node`: who asks, by default the stage's own node.

    Raises:
        UsageError: it is none, or of another stage.
    """
    info = getattr(getattr(model, "model", None), "lavie", None)
    node = node or STAGE_NODES[stage]
    if info is None:
        config = getattr(getattr(model, "model", None), "model_config", model)
        raise UsageError(
            f"This MODEL ({type(config).__name__}) is not LaVie's. {node} needs the MODEL of a LaVie Loader."
        )
    if info.stage != stage:
        raise UsageError(
            f"This MODEL is LaVie's {info.stage} stage. {node} needs the {stage} stage: set it in LaVie Loader."
        )
    return info


def text_condition(positive: list, negative: list, model: Any) -> TextCondition:
    """The embeddings of two CONDITIONINGs, on the device and in the width that the MODEL needs.

    Raises:
        UsageError: several are combined, one is limited to an area or to some steps, or it is of another encoder.
    """
    states = [_embedding(name, value) for name, value in (("positive", positive), ("negative", negative))]
    for state in states:
        check_width(state, model.model.diffusion_model.config.cross_attention_dim)
    return TextCondition.of(*(state.to(model.load_device) for state in states))


def _embedding(name: str, conditioning: list) -> Tensor:
    if len(conditioning) != 1:
        raise UsageError(
            f"The {name} input holds {len(conditioning)} conditionings. LaVie's samplers take one; use the core "
            "KSampler for combined ones."
        )
    states, options = conditioning[0]
    limits = {"area": "an area", "mask": "a mask", "start_percent": "some steps", "end_percent": "some steps"}
    for key, limit in limits.items():
        if options.get(key) not in (None, 0.0 if key == "start_percent" else 1.0 if key == "end_percent" else None):
            raise UsageError(f"The {name} conditioning is limited to {limit}, which only the core KSampler can do.")
    return options.get(PER_FRAME, states)


def latent_of(samples: Tensor, ratio: int = 8) -> dict[str, Any]:
    """A LATENT that remembers how many pixels a latent pixel stands for (by the key that newer hosts use)."""
    return {"samples": samples, "downscale_ratio_spacial": ratio}


def video_latents(latent: dict) -> Tensor:
    """The samples of a LATENT [batch, 4, frames, height, width].

    Raises:
        UsageError: they are an image's.
    """
    samples = latent["samples"]
    if samples.dim() != 5 or samples.shape[1] != 4:
        raise UsageError(
            f"These latents have the shape {list(samples.shape)}, but a video's are [batch, 4, frames, height, width]. "
            "Take them from LaVie Empty Latent Video or LaVie VAE Encode, or turn frames into a video with LaVie "
            "Frames to Latent Video."
        )
    return samples


def base_latents(latent: dict) -> Tensor:
    """The same for the base stage, whose latent pixels stand for 8 pixels.

    Raises:
        UsageError: they are an image's, or the upscaler's.
    """
    ratio = latent.get("downscale_ratio_spacial", 8)
    if ratio != 8:
        raise UsageError(
            f"These latents have {ratio} pixels per latent pixel: they were encoded with the upscaler's VAE. Encode "
            "with the VAE of LaVie's base stage."
        )
    return video_latents(latent)


def check_images(images: Tensor, least: int = 1) -> None:
    """Refuse too few frames, and too small a picture.

    Raises:
        UsageError: it is so.
    """
    if len(images) < least:
        raise UsageError(f"The video has {len(images)} frame(s); this node needs at least {least}.")
    if min(images.shape[1:3]) < 8:
        raise UsageError(f"A picture of {images.shape[2]}×{images.shape[1]} pixels is too small for LaVie.")


def video_of(images: Tensor, least: int = 1) -> Tensor:
    """IMAGE [frames, height, width, channels] in 0…1 as video [1, 3, frames, height, width] in −1…1; checked."""
    check_images(images, least)
    if images.shape[3] < 3:
        images = images[..., :1].expand(*images.shape[:3], 3)
    return images[..., :3].permute(3, 0, 1, 2)[None].float() * 2 - 1


def images_of(video: Tensor) -> Tensor:
    """Video [batch, 3, frames, height, width] in −1…1 as IMAGE [batch · frames, height, width, 3] in 0…1."""
    return (video / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 4, 1).flatten(0, 1).to(torch.float32)


def padded(images: Tensor) -> Tensor:
    """With the last rows and columns repeated up to a multiple of 8."""
    height, width = images.shape[1:3]
    if height % 8 == width % 8 == 0:
        return images
    return pad(images.movedim(-1, 1), (0, -width % 8, 0, -height % 8), mode="replicate").movedim(1, -1)
