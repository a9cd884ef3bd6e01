"""Checks a node's inputs and converts them to what `lavie` takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..lavie.errors import UsageError
from ..lavie.sampling import TextCondition
from ..lavie.stages import VAE_FACTOR
from ..lavie.video import check_frame_rate
from . import host
from .adapters import PER_FRAME, StageInfo, check_width


def info_of(model: Any) -> StageInfo | None:
    """The StageInfo of LaVie's MODEL; None for another MODEL."""
    return getattr(getattr(model, "model", None), "lavie", None)


def stage_of(model: Any, stages: Sequence[str], node: str) -> StageInfo:
    """What travels with a MODEL of LaVie.

    Args:
        stages: the accepted ones. node: the asking node's title.

    Raises:
        UsageError: the MODEL is not LaVie's, or is of another stage.
    """
    info = info_of(model)
    if info is None:
        config = getattr(getattr(model, "model", None), "model_config", model)
        raise UsageError(
            f"This MODEL ({type(config).__name__}) is not LaVie's. {node} needs the MODEL of a LaVie Loader."
        )
    if info.stage not in stages:
        raise UsageError(
            f"This MODEL is LaVie's {info.stage} stage. {node} needs the {' or '.join(stages)} stage: set it in LaVie "
            "Loader."
        )
    return info


def text_condition(positive: list, negative: list, model: Any) -> TextCondition:
    """The embeddings of two CONDITIONINGs on the MODEL's device, checked for its width.

    Raises:
        UsageError: several are combined, or one is from another encoder.
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
    return options.get(PER_FRAME, states)


def latent_of(samples: Tensor, ratio: int = VAE_FACTOR) -> dict[str, Any]:
    """A LATENT that records how many pixels a latent pixel stands for, under the key that newer hosts use."""
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
    check_filled(samples)
    return samples


def check_filled(latents: Tensor) -> None:
    """Raise UsageError for an empty batch, or a video of no frames."""
    if latents.numel() == 0:
        raise UsageError(f"These latents are empty (shape {list(latents.shape)}): they must hold a frame.")


def base_latents(latent: dict) -> Tensor:
    """`video_latents` for the base stage, whose latent pixels are 8 pixels wide.

    Raises:
        UsageError: they are an image's, or the upscaler's.
    """
    ratio = latent.get("downscale_ratio_spacial", VAE_FACTOR)
    if ratio != VAE_FACTOR:
        raise UsageError(
            f"These latents have {ratio} pixels per latent pixel: they were encoded with the upscaler's VAE. Encode "
            "with the VAE of LaVie's base stage."
        )
    return video_latents(latent)


def check_images(images: Tensor, minimum: int = 1) -> None:
    """Refuse too few frames, or images that are too small."""
    if len(images) < minimum:
        raise UsageError(f"The video has {len(images)} frame(s); this node needs at least {minimum}.")
    if min(images.shape[1:3]) < 8:
        raise UsageError(f"An image of {images.shape[2]}×{images.shape[1]} pixels is too small for LaVie.")


def parts_of(video: Any, fps: float) -> host.VideoParts:
    """Frames, frame rate and sound of a VIDEO, or of an IMAGE at `fps`.

    Raises:
        UsageError: a frame rate that no video can have.
    """
    if isinstance(video, Tensor):
        check_frame_rate(fps)
    parts = host.video_parts(video, fps)
    check_frame_rate(float(parts.frame_rate))
    return parts


def even(images: Tensor) -> Tensor:
    """The images, checked, with the last row or column once more where a side is odd; a note on the node says so."""
    check_images(images)
    height, width = images.shape[1:3]
    if height % 2 == width % 2 == 0:
        return images
    taken = f"{width + width % 2}×{height + height % 2}"
    host.note(
        f"The images of {width}×{height} pixels are taken as {taken}: Save Video needs even sides (H.264), so the last "
        "row or column stands twice."
    )
    return padded(images, 2)


def video_of(images: Tensor, minimum: int = 1) -> Tensor:
    """IMAGE [frames, height, width, channels] in 0…1 as video [1, 3, frames, height, width] in −1…1; checked."""
    check_images(images, minimum)
    if images.shape[3] < 3:
        images = images[..., :1].expand(*images.shape[:3], 3)
    return images[..., :3].permute(3, 0, 1, 2)[None].float() * 2 - 1


def images_of(video: Tensor) -> Tensor:
    """Video [batch, 3, frames, height, width] in −1…1 as IMAGE [batch · frames, height, width, 3] in 0…1."""
    return (video / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 4, 1).flatten(0, 1).to(torch.float32)


def padded(images: Tensor, multiple: int = VAE_FACTOR) -> Tensor:
    """The images with the last rows and columns repeated up to a multiple of so many pixels."""
    height, width = (-side % multiple for side in images.shape[1:3])
    if height == width == 0:
        return images
    return pad(images.movedim(-1, 1), (0, width, 0, height), mode="replicate").movedim(1, -1)


def in_size_of(images: Tensor, frames: Tensor) -> Tensor:
    """The frames without what `padded` added to the images."""
    return frames[:, : images.shape[1], : images.shape[2]]
