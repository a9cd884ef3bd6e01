"""Between videos and scaled latents: encode and decode in slices of frames and in tiles; videos to uint8."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from ..errors import LavieError, UsageError

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

PIXELS_PER_BATCH = {"cpu": 2**16}  # what stays in the cache is fastest
PIXELS_PER_BATCH_ELSEWHERE = 2**21  # one frame of 1280×2048, some 5 GB in float32
SMALLEST_TILE = 8
TILE_OVERLAP = 0.25

Progress = Callable[[int, int], None]


def encode_video(
    vae: AutoencoderKL,
    video: Tensor,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
    frames_per_batch: int | None = None,
    callback: Progress | None = None,
) -> Tensor:
    """Scaled float32 latents [b, 4, f, h/8, w/8] (/4 with the upscaler's VAE) of a video [b, 3, f, h, w] in −1…1.

    Args:
        generator, noise: sample the posterior, as the official interpolation does, with noise [b, 4, f, …] or noise
            drawn on the generator's device (a CPU generator gives the same latents everywhere); with neither,
            the latents are the posterior's mean.
        frames_per_batch, callback: see `decode_slices`.

    Raises:
        LavieError: the latents are not finite; a float16 VAE that overflows is run in float32 before that.
    """

    def moments(frames: Tensor) -> Tensor:
        return cast("Any", vae.encode(frames)).latent_dist.parameters

    b, _, _, h, w = video.shape
    count = frames_per_batch or _frames_per_batch(vae, b * h * w)
    parts = list(_in_slices(vae, moments, video, count, "encode", callback))
    latents, log_variance = torch.cat(parts, dim=2).chunk(2, dim=1)
    if noise is None and generator is not None:
        b, c, f, h, w = latents.shape  # (b f) c h w is the order in which the official code draws
        noise = torch.randn(b, f, c, h, w, generator=generator, device=generator.device).transpose(1, 2)
    if noise is not None:
        latents = latents + torch.exp(0.5 * log_variance.clamp(-30, 20)) * noise.to(latents)
    return latents * vae.config["scaling_factor"]


def decode_latents(
    vae: AutoencoderKL,
    latents: Tensor,
    frames_per_batch: int | None = None,
    tile: int | None = None,
    callback: Progress | None = None,
) -> Tensor:
    """The whole float32 video [b, 3, f, 8h, 8w] (4h, 4w with the upscaler's VAE) of `decode_slices`."""
    return torch.cat(list(decode_slices(vae, latents, frames_per_batch, tile, callback)), dim=2)


def decode_slices(
    vae: AutoencoderKL,
    latents: Tensor,
    frames_per_batch: int | None = None,
    tile: int | None = None,
    callback: Progress | None = None,
) -> Iterator[Tensor]:
    """Decodes scaled latents [b, 4, f, h, w], a few frames at a time; this does not change them, tiles do.

    Args:
        frames_per_batch: by default as many as the device handles well.
        tile: edge, in latent pixels, of overlapping and blended tiles, which bound the memory that a large
            image takes; None, or a tile that covers the image, decodes it whole.
        callback: callback(frames done, frames in all) after every slice; may raise to stop.

    Yields:
        float32 videos [b, 3, frames_per_batch or fewer, H, W], about −1…1, on the VAE's device.

    Raises:
        LavieError: the latents or the decoded frames are not finite; a float16 VAE that overflows is run in
            float32 before that.
        UsageError: the tile is too small to blend.
    """
    if tile is not None and tile < SMALLEST_TILE:
        raise UsageError(f"A VAE tile of {tile} latent pixels is too small; use {SMALLEST_TILE} or more.")
    if not latents.isfinite().all():
        raise LavieError(
            "The latents to decode hold NaN or infinite values, so the denoising before the VAE went wrong. "
            "Try float32, and check the weights."
        )

    def decode(frames: Tensor) -> Tensor:
        return _decode_tiled(vae, frames, tile)

    b, _, _, h, w = latents.shape
    count = frames_per_batch or _frames_per_batch(vae, b * h * w * _scale(vae) ** 2)
    yield from _in_slices(vae, decode, latents / vae.config["scaling_factor"], count, "decode", callback)


def to_uint8(video: Tensor, rounding: str = "nearest") -> Tensor:
    """Video in −1…1 to uint8 of the same shape.

    `rounding` is "nearest" for base and interpolation (base/pipelines/sample.py) or "truncate" for the upscaler
    (vsr/sample.py), as the official code has it.
    """
    if rounding == "nearest":
        return ((video / 2 + 0.5) * 255 + 0.5).clamp(0, 255).to(torch.uint8)
    if rounding == "truncate":
        return ((video.clamp(-1, 1) / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8)
    raise ValueError(f"rounding is 'nearest' or 'truncate', not {rounding!r}")


@torch.no_grad()
def _in_slices(
    vae: AutoencoderKL,
    network: Callable[[Tensor], Tensor],
    video: Tensor,
    frames_per_batch: int,
    verb: str,
    callback: Progress | None,
) -> Iterator[Tensor]:
    """Runs `network` on slices of frames; from the first one that overflows float16 on, in float32."""
    precision, total = vae.dtype, video.shape[2]
    try:
        for start in range(0, total, frames_per_batch):
            part = video[:, :, start : start + frames_per_batch]
            frames = rearrange(part, "b c f h w -> (b f) c h w").to(vae.device)
            result = network(frames.to(vae.dtype))
            if vae.dtype == torch.float16 and not result.isfinite().all():
                nn.Module.to(vae, torch.float32)  # diffusers' own .to(dtype) warns
                result = network(frames.float())
            if not result.isfinite().all():
                raise LavieError(
                    f"The VAE {verb} produced NaN or infinite values in {str(vae.dtype).removeprefix('torch.')}: "
                    "its weights are damaged, or its input is far out of range."
                )
            if callback is not None:
                callback(start + part.shape[2], total)
            yield rearrange(result.float(), "(b f) c h w -> b c f h w", b=len(video))
    finally:
        nn.Module.to(vae, precision)


def pixels_per_batch(device: str) -> int:
    """How many pixels a VAE takes at once on a kind of device, one frame at least."""
    return PIXELS_PER_BATCH.get(device, PIXELS_PER_BATCH_ELSEWHERE)


def _frames_per_batch(vae: AutoencoderKL, pixels: int) -> int:
    """For frames with this many pixels."""
    return max(1, pixels_per_batch(vae.device.type) // pixels)


def _scale(vae: AutoencoderKL) -> int:
    """Pixels per latent pixel along an edge."""
    return 2 ** (len(vae.config["block_out_channels"]) - 1)


def _decode_tiled(vae: AutoencoderKL, latents: Tensor, tile: int | None) -> Tensor:
    """Latents [n, 4, h, w] to images; every tile is weighted by its distance from its own edges."""
    h, w = latents.shape[-2:]
    if tile is None or tile >= max(h, w):
        return _decoded(vae, latents)
    scale = _scale(vae)
    images = latents.new_zeros(len(latents), vae.config["out_channels"], h * scale, w * scale, dtype=torch.float32)
    weights = torch.zeros_like(images[:1, :1])
    for top in tile_starts(h, tile):
        for left in tile_starts(w, tile):
            part = _decoded(vae, latents[..., top : top + tile, left : left + tile])
            rows, columns = part.shape[-2:]
            weight = _ramp(rows, part)[:, None] * _ramp(columns, part)
            place = (..., slice(top * scale, top * scale + rows), slice(left * scale, left * scale + columns))
            images[place] += part * weight
            weights[place] += weight
    return images / weights


def _decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    decode: Callable[[Tensor], Any] = cast("Any", vae.decode)  # diffusers declares another input and another output
    return decode(latents).sample


def tile_starts(size: int, tile: int) -> list[int]:
    """Where equal tiles begin that spread evenly and overlap by a quarter or more."""
    if tile >= size:
        return [0]
    overlap = round(tile * TILE_OVERLAP)
    count = math.ceil((size - overlap) / (tile - overlap))
    return [round(i * (size - tile) / (count - 1)) for i in range(count)]


def _ramp(length: int, like: Tensor) -> Tensor:
    """Weights that rise from both ends over the width of the overlap, float32 [length]."""
    distance = torch.arange(length, device=like.device) + 0.5
    return (torch.minimum(distance, length - distance) / (length * TILE_OVERLAP)).clamp(max=1)
