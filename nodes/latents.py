"""Latent nodes: empty latents, encoding and decoding, and conversion between a video and its frames."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..lavie.checks import check_num_frames, check_size
from ..lavie.config import MAX_FRAMES, MAX_SIDE
from ..lavie.errors import UsageError
from ..lavie.models.latents import SMALLEST_TILE
from ..lavie.stages import VAE_FACTOR
from . import host
from .inputs import check_filled, latent_of, stage_of, video_latents
from .node import Node
from .vae import decode, encode, ratio_of, require_vae
from .widgets import integer, socket

SAMPLES = socket("LATENT", "Latents of a video [batch, 4, frames, height / 8, width / 8].")
VAE = socket("VAE", "The VAE of the same LaVie Loader, or any Stable Diffusion 1.x VAE.")


class LatentNode(Node):
    CATEGORY = "LaVie/latent"


class LaVieEmptyLatentVideo(LatentNode):
    """An empty video for the core KSampler. With a MODEL connected, 0 stands for the model's own size, so you can
    switch models without changing anything else."""

    title = "LaVie Empty Latent Video"
    SEARCH_ALIASES: ClassVar = ["lavie empty latent", "empty video", "video size", "latent video"]
    inputs: ClassVar = {
        "width": integer(512, 0, MAX_SIDE, "Pixels, divisible by 8. 0: the connected MODEL's own.", step=8),
        "height": integer(320, 0, MAX_SIDE, "Pixels, divisible by 8. 0: the connected MODEL's own.", step=8),
        "num_frames": integer(16, 0, MAX_FRAMES, "Frames. 0: the connected MODEL's own."),
        "batch_size": integer(1, 1, 64, "How many videos to make at once."),
        "model": socket("MODEL", "LaVie's base MODEL, to take its own size."),
    }
    optional = ("model",)
    outputs: ClassVar = {"latent": ("LATENT", "An empty video: [batch, 4, frames, height / 8, width / 8].")}

    def run(self, width: int, height: int, num_frames: int, batch_size: int, model: Any = None) -> tuple[dict]:
        if 0 in (width, height, num_frames):
            if model is None:
                raise UsageError(
                    "Width, height or length is 0. Give a number, or connect the MODEL whose own value to use."
                )
            config = stage_of(model, ("base",), self.title).config
            width, height = width or config.width, height or config.height
            num_frames = num_frames or config.num_frames
        check_size(height, width)
        check_num_frames(num_frames)
        shape = (batch_size, 4, num_frames, height // VAE_FACTOR, width // VAE_FACTOR)
        return (latent_of(torch.zeros(shape, device=host.storage_device())),)


class LaVieVAEDecode(LatentNode):
    """Decodes latents to frames with LaVie's VAE or any Stable Diffusion 1.x VAE, a few frames at a time. If a
    half-precision VAE overflows, it runs in float32. Tiles limit the memory of large images."""

    title = "LaVie VAE Decode"
    SEARCH_ALIASES: ClassVar = ["lavie decode", "vae decode video", "latent to images"]
    inputs: ClassVar = {
        "samples": SAMPLES,
        "vae": VAE,
        "tile": integer(0, 0, MAX_SIDE, "Edge of the tiles in pixels of the image. 0: whole images.", step=64),
    }
    outputs: ClassVar = {"images": ("IMAGE", "The frames of all videos, one after the other.")}

    def run(self, samples: dict, vae: Any, tile: int) -> tuple[Tensor]:
        latents = video_latents(samples)
        require_vae(vae, samples.get("downscale_ratio_spacial"), self.title)
        return (decode(vae, latents, max(SMALLEST_TILE, tile // VAE_FACTOR) if tile else 0),)


class LaVieVAEEncode(LatentNode):
    """Encodes frames to the latents of one video, for video to video and for the extender. Edges that do not fill 8
    pixels are cropped, as in the core node."""

    title = "LaVie VAE Encode"
    SEARCH_ALIASES: ClassVar = ["lavie encode", "vae encode video", "images to latent"]
    inputs: ClassVar = {"images": socket("IMAGE", "The frames of a video, or one image."), "vae": VAE}
    outputs: ClassVar = {"latent": ("LATENT", "One video [1, 4, frames, height / 8, width / 8].")}

    def run(self, images: Tensor, vae: Any) -> tuple[dict]:
        require_vae(vae, None, self.title)
        return (latent_of(encode(vae, images), ratio_of(vae)),)


class LaVieLatentVideoToFrames(LatentNode):
    """Turns the latents of a video into a batch of image latents, one per frame, for image nodes."""

    title = "LaVie Latent Video to Frames"
    SEARCH_ALIASES: ClassVar = ["video latent to batch", "5d to 4d", "unstack frames"]
    inputs: ClassVar = {"samples": SAMPLES}
    outputs: ClassVar = {"latent": ("LATENT", "Image latents [batch · frames, 4, h, w].")}

    def run(self, samples: dict) -> tuple[dict]:
        kept = {key: value for key, value in samples.items() if key != "batch_index"}
        return ({**kept, "samples": video_latents(samples).transpose(1, 2).flatten(0, 1)},)


class LaVieFramesToLatentVideo(LatentNode):
    """Turns a batch of image latents into the latents of one video, or of several of equal length."""

    title = "LaVie Frames to Latent Video"
    SEARCH_ALIASES: ClassVar = ["batch to video latent", "4d to 5d", "stack frames"]
    inputs: ClassVar = {
        "samples": socket("LATENT", "Image latents [frames, 4, h, w]."),
        "num_frames": integer(0, 0, MAX_FRAMES, "Frames of each video. 0: all in one video."),
    }
    outputs: ClassVar = {"latent": ("LATENT", "Video latents [batch, 4, frames, h, w].")}

    def run(self, samples: dict, num_frames: int) -> tuple[dict]:
        latents = samples["samples"]
        if latents.dim() != 4:
            raise UsageError(f"These latents are {latents.dim()}-D; this node takes a batch of image latents (4-D).")
        check_filled(latents)
        num_frames = num_frames or len(latents)
        if len(latents) % num_frames:
            raise UsageError(f"{len(latents)} frames do not divide into videos of {num_frames}.")
        return ({**samples, "samples": latents.unflatten(0, (-1, num_frames)).transpose(1, 2)},)
