"""LaVie Image to Video and LaVie Transition: clips that start from, or lie between, frames that are given."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.config import MAX_FRAMES
from ..lavie.errors import UsageError
from ..lavie.pipelines.conditioned_extension import MASK, sample_conditioned_extension
from ..lavie.pipelines.extend import WINDOW, sample_extension
from ..lavie.pipelines.resize import RESIZES, resized
from ..lavie.pipelines.transition import sample_transition
from ..lavie.runtime.fallback import Attempt, attempts
from ..lavie.runtime.memory import activation_bytes
from ..lavie.sampling import seeded
from ..lavie.sampling.seam import SEAM_FRAMES
from . import host
from .adapters import StageInfo
from .inputs import (
    ANCHOR,
    SAMPLING,
    SEAM,
    SPEED,
    choice,
    integer,
    padded,
    sampling_settings,
    socket,
    stage_of,
    text_condition,
)
from .sampling import NEGATIVE, POSITIVE
from .vae import decode, encode, require_vae

ADVICE = "Lower num_frames, use smaller pictures, or choose float16 in LaVie Loader."
EITHER = socket("MODEL", "LaVie's extension stage, made for this, or its base, which needs no training for it.")
VAE = socket("VAE", "The VAE of the same LaVie Loader.")


class LaVieImageToVideo:
    """A picture, or the end of a clip, goes on."""

    DESCRIPTION = (
        "A clip that starts with your picture, or goes on from the last frames of a video. With the extension MODEL "
        "(section 5.6 of the paper) each recursion starts from the last frame of the one before, as often as you like."
    )
    SEARCH_ALIASES: ClassVar = ["lavie i2v", "image to video", "animate picture", "extend video", "continue"]
    CATEGORY = "LaVie"
    FUNCTION = "sample"
    RETURN_TYPES = ("IMAGE", "FLOAT")
    RETURN_NAMES = ("images", "fps")
    OUTPUT_TOOLTIPS = ("The frames that came in, unchanged, and the new ones.", "Frames a second.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "model": EITHER,
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "vae": VAE,
                "images": socket("IMAGE", "A picture, or the frames of a video, in the size of the new frames."),
                "num_frames": integer(15, 1, MAX_FRAMES, "New frames; 15 are one recursion of an extension MODEL."),
                "context_frames": integer(
                    1, 1, 64, "Last frames that the new ones follow. The paper's form takes 1, SEINE's mask form more."
                ),
                **SAMPLING,
            },
            "optional": {
                "anchor": ANCHOR,
                "resize": choice(
                    ["keep", *RESIZES],
                    "keep",
                    "keep: the images set the size. crop, stretch: they are brought to the model's own size.",
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
        vae: Any,
        images: Tensor,
        num_frames: int,
        context_frames: int,
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        anchor: float = 0.0,
        resize: str = "keep",
        speed: str = "exact",
        seam_frames: int = SEAM_FRAMES,
    ) -> tuple[Tensor, float]:
        info = _stage_of(model, "LaVie Image to Video")
        require_vae(vae, 8, "LaVie Image to Video")
        config = info.config.at_speed(info.stage, speed).replaced(
            **sampling_settings(steps, guidance_scale, sampler, spacing)
        )
        unet, text = model.model.diffusion_model, text_condition(positive, negative, model)
        if resize != "keep":
            images = resized(images, (config.height, config.width), resize)
        progress = host.Progress(model)
        context = _encoded(vae, images[-context_frames:], info, progress)
        context_frames = context.shape[2]
        size = (config.num_frames or WINDOW, *context.shape[3:])
        device = host.load(model, activation_bytes(unet, (2, unet.config.in_channels, *size)))
        grey = _grey(vae, images, info, unet)

        def run(attempt: Attempt) -> Tensor:
            network = host.network(model, text, 1)
            shared = {"device": device, "num_frames": num_frames, "anchor": anchor, "seam_frames": seam_frames}
            shared |= {"split": attempt.split, "callback": progress.step}
            if info.stage == "base":
                longer = sample_extension(
                    network, text, context, attempt.config, seed, context_frames=context_frames, **shared
                )
                return longer[:, :, context_frames:]
            generators = [seeded(seed)]
            return sample_conditioned_extension(network, text, context, attempt.config, generators, grey=grey, **shared)

        with host.cancellable(unet):
            made = host.first_that_fits(attempts(config, *size, windowed=False), run, ADVICE, unet)
        added = _decoded(vae, made, images, info, progress)
        return torch.cat((images[..., :3].to(added), added)), info.config.fps


class LaVieTransition:
    """From one shot to another."""

    DESCRIPTION = (
        "New frames that lead from the end of one video to the beginning of another, as the prompt says. The same "
        "video on both sides closes a loop."
    )
    SEARCH_ALIASES: ClassVar = ["lavie transition", "morph", "loop", "first last frame", "join videos", "seine"]
    CATEGORY = "LaVie"
    FUNCTION = "sample"
    RETURN_TYPES = ("IMAGE", "IMAGE", "FLOAT")
    RETURN_NAMES = ("images", "transition", "fps")
    OUTPUT_TOOLTIPS = ("The whole: first, new frames, second.", "The new frames alone.", "Frames a second.")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "model": EITHER,
                "positive": POSITIVE,
                "negative": NEGATIVE,
                "vae": VAE,
                "first": socket("IMAGE", "The video, or picture, to start from."),
                "second": socket("IMAGE", "The video, or picture, to arrive at; in the size of the first."),
                "num_frames": integer(8, 1, MAX_FRAMES, "New frames between them."),
                "context_frames": integer(4, 1, 64, "Frames on each side that the new ones are made to fit."),
                **SAMPLING,
            },
            "optional": {
                "resize": choice(
                    ["refuse", *RESIZES],
                    "refuse",
                    "If second has another size than first: stop with an error, crop it to that size, or stretch it.",
                ),
                "speed": SPEED,
            },
        }

    def sample(
        self,
        model: Any,
        positive: list,
        negative: list,
        vae: Any,
        first: Tensor,
        second: Tensor,
        num_frames: int,
        context_frames: int,
        seed: int,
        steps: int,
        guidance_scale: float,
        sampler: str,
        spacing: str,
        resize: str = "refuse",
        speed: str = "exact",
    ) -> tuple[Tensor, Tensor, float]:
        info = _stage_of(model, "LaVie Transition")
        require_vae(vae, 8, "LaVie Transition")
        config = info.config.at_speed(info.stage, speed).replaced(
            **sampling_settings(steps, guidance_scale, sampler, spacing)
        )
        if resize != "refuse":
            second = resized(second, tuple(first.shape[1:3]), resize)
        if first.shape[1:3] != second.shape[1:3]:
            sizes = " and ".join(f"{images.shape[2]}×{images.shape[1]}" for images in (first, second))
            raise UsageError(f"first and second differ in size ({sizes}): set resize to crop or stretch.")
        unet, text = model.model.diffusion_model, text_condition(positive, negative, model)
        progress = host.Progress(model)
        before = _encoded(vae, first[-context_frames:], info, progress)
        after = _encoded(vae, second[:context_frames], info, progress)
        size = (num_frames + before.shape[2] + after.shape[2], *before.shape[3:])
        device = host.load(model, activation_bytes(unet, (2, unet.config.in_channels, *size)))
        grey = _grey(vae, first, info, unet)

        def run(attempt: Attempt) -> Tensor:
            return sample_transition(
                host.network(model, text, 1),
                text,
                before,
                after,
                attempt.config,
                seeded(seed),
                device=device,
                num_frames=num_frames,
                grey=grey,
                split=attempt.split,
                callback=progress.step,
            )

        with host.cancellable(unet):
            made = host.first_that_fits(attempts(config, *size, windowed=False), run, ADVICE, unet)
        between = _decoded(vae, made, first, info, progress)
        sides = (images[..., :3].to(between) for images in (first, second))
        whole = torch.cat((next(sides), between, next(sides)))
        return whole, between, info.config.fps


def _stage_of(model: Any, node: str) -> StageInfo:
    """The extension, or else the base."""
    stage = getattr(getattr(getattr(model, "model", None), "lavie", None), "stage", "")
    return stage_of(model, "extension" if stage == "extension" else "base", node)


def _encoded(vae: Any, images: Tensor, info: StageInfo, progress: host.Progress) -> Tensor:
    """Scaled latents [1, 4, frames, h, w]."""
    return encode(vae, padded(images), frames=progress.frames("encode")) * info.scaling_factor


def _grey(vae: Any, images: Tensor, info: StageInfo, unet: Any) -> Tensor | None:
    """Scaled latents [1, 4, 1, h, w] of mid-grey, where a UNet in the mask form needs them."""
    if unet.config.in_channels != MASK:
        return None
    return encode(vae, torch.full_like(padded(images[:1]), 0.5)) * info.scaling_factor


def _decoded(vae: Any, latents: Tensor, images: Tensor, info: StageInfo, progress: host.Progress) -> Tensor:
    """IMAGE in the size of the given one."""
    frames = decode(vae, latents / info.scaling_factor, frames=progress.frames("decode"))
    return frames[:, : images.shape[1], : images.shape[2]]


NODES = {
    "LaVieImageToVideo": (LaVieImageToVideo, "LaVie Image to Video"),
    "LaVieTransition": (LaVieTransition, "LaVie Transition"),
}
