"""VAEs: LaVie's own as ComfyUI calls it, and what the nodes do with any VAE."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..lavie.errors import LavieError, UsageError
from ..lavie.models.latents import SMALLEST_TILE, decode_slices, encode_video
from ..lavie.models.vae_attention import pooled_keys
from ..lavie.runtime.changes import how_much
from . import host
from .adapters import StageInfo
from .inputs import check_images, images_of, video_of

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

log = logging.getLogger(__name__)

FALLBACK_TILE = 32  # latent pixels, after memory ran out
FRAMES_AT_ONCE = 8  # that are copied for encoding
Frames = Callable[[int, int], None]


class GraphVAE:
    """LaVie's VAE with the interface of ComfyUI's: it folds frames into the batch, so that core VAE Decode and
    Encode take 5-D latents [batch, 4, frames, h, w], unscaled."""

    latent_channels, latent_dim, output_channels = 4, 3, 3
    size = None

    def __init__(self, vae: AutoencoderKL, info: StageInfo) -> None:
        self.first_stage_model, self.lavie = vae, info
        self.patcher = host.make_patcher(vae)
        self.device, self.output_device = self.patcher.load_device, host.storage_device()
        self.scaling_factor = vae.config["scaling_factor"]
        self.upscale_ratio = self.downscale_ratio = 2 ** (len(vae.config["block_out_channels"]) - 1)

    @property
    def vae_dtype(self) -> torch.dtype:
        return self.first_stage_model.dtype

    def decode(
        self,
        samples: Tensor,
        vae_options: Any = None,
        tile: int | None = None,
        frames: Frames | None = None,
        keys: int = 0,
    ) -> Tensor:
        """IMAGE [batch · frames, H, W, 3] of latents [batch, 4, frames, h, w], or of an image's [batch, 4, h, w].

        keys: `Speed.vae_keys`.
        """
        latents = samples[:, :, None] if samples.dim() == 4 else samples
        latents = latents * self.scaling_factor
        host.load(self.patcher, self._decode_bytes(latents.shape[3:], tile), whole=True)
        report = frames or host.Progress().frames("decode")
        try:
            with pooled_keys(self.first_stage_model, keys):
                return self._decode(latents, tile, report)
        except Exception as error:
            if not host.ran_out_of_memory(error):
                raise
            log.warning(
                "LaVie ran out of memory while decoding. It continues in tiles, which %s.",
                how_much("VAE tile", min(tile or FALLBACK_TILE, FALLBACK_TILE)),
            )
        host.free_cache()
        return self._decode(latents, min(tile or FALLBACK_TILE, FALLBACK_TILE), report)

    def _decode(self, latents: Tensor, tile: int | None, report: Frames) -> Tensor:
        batch, _, count, *size = latents.shape
        height, width = (side * self.upscale_ratio for side in size)
        images = torch.empty(batch, count, height, width, 3, device=self.output_device)
        start = 0
        for part in decode_slices(self.first_stage_model, latents, tile=tile, callback=report):
            images[:, start : start + part.shape[2]] = images_of(part).unflatten(0, (batch, -1))
            start += part.shape[2]
        return images.flatten(0, 1)

    def decode_tiled(self, samples: Tensor, tile_x: int | None = None, tile_y: int | None = None, **_: Any) -> Tensor:
        """As `decode`, in square tiles of latent pixels; the overlap is a quarter."""
        return self.decode(samples, tile=max(SMALLEST_TILE, min(tile_x or FALLBACK_TILE, tile_y or FALLBACK_TILE)))

    def encode(self, pixels: Tensor, generator: torch.Generator | None = None, frames: Frames | None = None) -> Tensor:
        """Latents [1, 4, frames, h, w] of IMAGE [frames, H, W, 3], cropped to whole latent pixels; the mean of the
        posterior, or a sample of it if there is a generator."""
        check_images(pixels)
        ratio = self.downscale_ratio
        height, width = (side // ratio * ratio for side in pixels.shape[1:3])
        top, left = ((side % ratio) // 2 for side in pixels.shape[1:3])
        pixels = pixels[:, top : top + height, left : left + width]
        shape = (len(pixels), 1, self.latent_channels, height // ratio, width // ratio)
        noise = None if generator is None else torch.randn(shape, generator=generator).permute(1, 2, 0, 3, 4)
        host.load(self.patcher, 4096.0 * height * width * self.vae_dtype.itemsize, whole=True)
        report = frames or host.Progress().frames("encode")
        latents = []
        for start in range(0, len(pixels), FRAMES_AT_ONCE):
            part = slice(start, start + FRAMES_AT_ONCE)
            given = None if noise is None else noise[:, :, part]
            latents.append(encode_video(self.first_stage_model, video_of(pixels[part]), noise=given))
            report(min(part.stop, len(pixels)), len(pixels))
        return (torch.cat(latents, dim=2) / self.scaling_factor).to(self.output_device)

    def encode_tiled(self, pixels: Tensor, **_: Any) -> Tensor:
        """As `encode`: frames are encoded one by one, which limits memory as tiles would."""
        return self.encode(pixels)

    def _decode_bytes(self, size: torch.Size, tile: int | None) -> float:
        """Bytes for one frame with this many latent pixels."""
        height, width = (min(side, tile or side) * self.upscale_ratio for side in size)
        return 2200.0 * height * width * self.vae_dtype.itemsize

    def spacial_compression_decode(self) -> int:
        return self.upscale_ratio

    def spacial_compression_encode(self) -> int:
        return self.downscale_ratio

    def temporal_compression_decode(self) -> None:
        return None

    def throw_exception_if_invalid(self) -> None:
        return None

    def get_sd(self) -> dict[str, Tensor]:
        return self.first_stage_model.state_dict()


def require_vae(vae: Any, ratio: int | None, node: str) -> None:
    """Refuse a missing VAE, or one of another kind; with `ratio` None any scale is accepted.

    Raises:
        UsageError: it does not have 4 latent channels, or not `ratio` pixels per latent pixel.
    """
    if vae is None:
        raise UsageError(f"{node} got no VAE: the loader found none. Wire the VAE of another loader.")
    channels, found = getattr(vae, "latent_channels", 4), ratio_of(vae)
    if channels != 4 or found != (ratio or found):
        raise UsageError(
            f"{node} needs a VAE with 4 channels and {ratio or found} pixels per latent pixel here; this one has "
            f"{channels} and {found}. Wire the VAE of the LaVie Loader whose MODEL made or will take the latents."
        )


def ratio_of(vae: Any) -> int:
    """Pixels per latent pixel along an edge."""
    ratio = vae.spacial_compression_decode() if hasattr(vae, "spacial_compression_decode") else 8
    return int(ratio) if isinstance(ratio, (int, float)) else 8


def decode(vae: Any, samples: Tensor, tile: int = 0, frames: Frames | None = None, keys: int = 0) -> Tensor:
    """IMAGE [batch · frames, H, W, 3] of unscaled latents [batch, 4, frames, h, w] by any VAE; tile in latent pixels.

    keys: `Speed.vae_keys`, which the host's own VAEs do not know.

    Raises:
        LavieError: the image is not finite, even in float32.
    """
    if isinstance(vae, GraphVAE):
        return vae.decode(samples, tile=tile or None, frames=frames, keys=keys)
    report = frames or host.Progress().frames("decode")
    flat = samples.transpose(1, 2).flatten(0, 1)
    images, precision = [], vae.vae_dtype
    try:
        for index, frame in enumerate(flat.split(1)):
            report(index, len(flat))
            images.append(_decode_frame(vae, frame, tile))
    finally:
        _set_precision(vae, precision)
    report(len(flat), len(flat))
    return torch.cat(images)


def _decode_frame(vae: Any, frame: Tensor, tile: int) -> Tensor:
    def run() -> Tensor:
        return vae.decode_tiled(frame, tile_x=tile, tile_y=tile, overlap=tile // 4) if tile else vae.decode(frame)

    image = run()
    if not image.isfinite().all() and vae.vae_dtype != torch.float32:
        log.warning("The VAE overflowed in %s and continues in float32.", vae.vae_dtype)
        _set_precision(vae, torch.float32)
        image = run()
    if not image.isfinite().all():
        raise LavieError("The VAE produced invalid numbers (NaN). Check the latents that come in, or use another VAE.")
    return image


def _set_precision(vae: Any, dtype: torch.dtype) -> None:
    if vae.vae_dtype != dtype:
        vae.first_stage_model.to(dtype)
        vae.vae_dtype = dtype


def encode(vae: Any, images: Tensor, generator: torch.Generator | None = None, frames: Frames | None = None) -> Tensor:
    """Unscaled latents [1, 4, frames, h, w] of IMAGE [frames, H, W, 3] by any VAE."""
    if isinstance(vae, GraphVAE):
        return vae.encode(images, generator, frames)
    check_images(images)
    report = frames or host.Progress().frames("encode")
    latents = []
    for index, image in enumerate(images.split(1)):
        report(index, len(images))
        latents.append(vae.encode(image[..., :3]))
    report(len(images), len(images))
    return torch.cat(latents).transpose(0, 1)[None]
