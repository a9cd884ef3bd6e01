"""Latent nodes: empty latents, encoding and decoding, and conversion between a video and its frames."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.checks import check_num_frames, check_size
from ..lavie.config import MAX_FRAMES, MAX_SIDE
from ..lavie.errors import UsageError
from ..lavie.models.latents import SMALLEST_TILE
from . import host
from .inputs import VAE_FACTOR, latent_of, stage_of, video_latents
from .vae import decode, encode, ratio_of, require_vae
from .widgets import integer, socket

SAMPLES = socket("LATENT", "Latents of a video [batch, 4, frames, height / 8, width / 8].")


class LaVieEmptyLatentVideo:
    """Empty latents for a sampler."""

    DESCRIPTION = (
        "An empty video for the core KSampler. With a MODEL connected, 0 stands for the model's own size, so you can "
        "switch models without changing anything else."
    )
    SEARCH_ALIASES: ClassVar = ["lavie empty latent", "empty video", "video size", "latent video"]
    CATEGORY = "LaVie/latent"
    FUNCTION = "create"
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("An empty video: [batch, 4, frames, height / 8, width / 8].",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "width": integer(512, 0, MAX_SIDE, "Pixels, divisible by 8. 0: that of the connected MODEL.", step=8),
                "height": integer(320, 0, MAX_SIDE, "Pixels, divisible by 8. 0: that of the connected MODEL.", step=8),
                "num_frames": integer(16, 0, MAX_FRAMES, "Frames. 0: that of the connected MODEL."),
                "batch_size": integer(1, 1, 64, "How many videos to make at once."),
            },
            "optional": {"model": socket("MODEL", "LaVie's base MODEL, to take its own size.")},
        }

    def create(self, width: int, height: int, num_frames: int, batch_size: int, model: Any = None) -> tuple[dict]:
        if 0 in (width, height, num_frames):
            if model is None:
                raise UsageError(
                    "Width, height or num_frames is 0. Give a number, or connect the MODEL whose own value to use."
                )
            config = stage_of(model, ("base",), "LaVie Empty Latent Video").config
            width, height = width or config.width, height or config.height
            num_frames = num_frames or config.num_frames
        check_size(height, width)
        check_num_frames(num_frames)
        shape = (batch_size, 4, num_frames, height // VAE_FACTOR, width // VAE_FACTOR)
        return (latent_of(torch.zeros(shape, device=host.storage_device())),)


class LaVieVAEDecode:
    """From latents to frames."""

    DESCRIPTION = (
        "Decodes latents to frames with LaVie's VAE or any Stable Diffusion 1.x VAE, a few frames at a time. If a "
        "half-precision VAE overflows, it runs in float32. Tiles limit the memory of large images."
    )
    SEARCH_ALIASES: ClassVar = ["lavie decode", "vae decode video", "latent to images"]
    CATEGORY = "LaVie/latent"
    FUNCTION = "decode"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_TOOLTIPS = ("The frames of all videos, one after the other.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "samples": SAMPLES,
                "vae": socket("VAE", "The VAE of the same LaVie Loader, or any Stable Diffusion 1.x VAE."),
                "tile": integer(0, 0, MAX_SIDE, "Edge of the tiles in pixels of the image. 0: whole images.", step=64),
            }
        }

    def decode(self, samples: dict, vae: Any, tile: int) -> tuple[Tensor]:
        latents = video_latents(samples)
        require_vae(vae, samples.get("downscale_ratio_spacial"), "LaVie VAE Decode")
        return (decode(vae, latents, max(SMALLEST_TILE, tile // VAE_FACTOR) if tile else 0),)


class LaVieVAEEncode:
    """From frames to latents."""

    DESCRIPTION = (
        "Encodes frames to the latents of one video, for video to video and for the extender. Edges that do not fill "
        "8 pixels are cropped, as in the core node."
    )
    SEARCH_ALIASES: ClassVar = ["lavie encode", "vae encode video", "images to latent", "image to video"]
    CATEGORY = "LaVie/latent"
    FUNCTION = "encode"
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("One video [1, 4, frames, height / 8, width / 8].",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "images": socket("IMAGE", "The frames of a video, or one image."),
                "vae": socket("VAE", "The VAE of the same LaVie Loader, or any Stable Diffusion 1.x VAE."),
            }
        }

    def encode(self, images: Tensor, vae: Any) -> tuple[dict]:
        require_vae(vae, None, "LaVie VAE Encode")
        return (latent_of(encode(vae, images), ratio_of(vae)),)


class LaVieLatentVideoToFrames:
    """The frames of a video as a batch."""

    DESCRIPTION = "Turns the latents of a video into a batch of image latents, one per frame, for image nodes."
    SEARCH_ALIASES: ClassVar = ["latent batch", "5d to 4d", "unstack frames"]
    CATEGORY = "LaVie/latent"
    FUNCTION = "convert"
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("Image latents [batch · frames, 4, h, w].",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {"required": {"samples": SAMPLES}}

    def convert(self, samples: dict) -> tuple[dict]:
        kept = {key: value for key, value in samples.items() if key != "batch_index"}
        return ({**kept, "samples": video_latents(samples).transpose(1, 2).flatten(0, 1)},)


class LaVieFramesToLatentVideo:
    """A batch as the frames of a video."""

    DESCRIPTION = "Turns a batch of image latents into the latents of one video, or of several of equal length."
    SEARCH_ALIASES: ClassVar = ["latent batch", "4d to 5d", "stack frames"]
    CATEGORY = "LaVie/latent"
    FUNCTION = "convert"
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("Video latents [batch, 4, frames, h, w].",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "samples": socket("LATENT", "Image latents [frames, 4, h, w]."),
                "num_frames": integer(0, 0, MAX_FRAMES, "Frames of each video. 0: all in one video."),
            }
        }

    def convert(self, samples: dict, num_frames: int) -> tuple[dict]:
        latents = samples["samples"]
        if latents.dim() != 4:
            raise UsageError(f"These latents are {latents.dim()}-D; this node takes a batch of image latents (4-D).")
        num_frames = num_frames or len(latents)
        if len(latents) % num_frames:
            raise UsageError(f"{len(latents)} frames do not divide into videos of {num_frames}.")
        return ({**samples, "samples": latents.unflatten(0, (-1, num_frames)).transpose(1, 2)},)


NODES = {
    "LaVieEmptyLatentVideo": (LaVieEmptyLatentVideo, "LaVie Empty Latent Video"),
    "LaVieVAEDecode": (LaVieVAEDecode, "LaVie VAE Decode"),
    "LaVieVAEEncode": (LaVieVAEEncode, "LaVie VAE Encode"),
    "LaVieLatentVideoToFrames": (LaVieLatentVideoToFrames, "LaVie Latent Video to Frames"),
    "LaVieFramesToLatentVideo": (LaVieFramesToLatentVideo, "LaVie Frames to Latent Video"),
}
