"""Estimates the peak memory of a stage before it runs: weights, feature maps, latents, frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..models import UNetConfig
from ..models.latents import pixels_per_batch
from ..speed import Speed
from ..stages import StageSpec
from .device import MAX_ELEMENTS

SLICES = 16  # of the UNet's largest feature map
MIN_SLICE = 2**16  # numbers: smaller slices take time and save hardly any memory
FLOAT32, UINT8 = 4, 1
LATENT_COPIES = 8  # noise, latents, what the network sees, predictions and their blend
PIXEL_COPIES = 3  # the low-resolution video, its noise, their sum
KEPT_ON_CPU = 1.8  # bytes the process holds per byte of live feature maps; measured 1.4 to 2.5, see docs/memory.md
DECODER_MAPS = 6  # of a VAE's first width, at the full size of the image; encoding takes 5
DECODER_MAPS_ON_CPU = 9.7  # whose convolutions copy their inputs and outputs to another layout


def feature_maps(config: UNetConfig, sliced: bool) -> float:
    """How many feature maps of the UNet's first level are alive at the peak of one evaluation.

    Counted at full size with runtime.live; smaller networks need no more.
    """
    if config.temporal_convolutions:
        return 11.2 if sliced else 16.2
    return 9.2 if sliced else 24.2


def unet_bytes(config: UNetConfig, itemsize: int, seen: tuple[int, ...], sliced: bool = False) -> int:
    """Bytes of one evaluation, without the weights, for this many clips, frames, rows and columns of latents."""
    return round(feature_maps(config, sliced) * math.prod(seen) * config.block_out_channels[0] * itemsize)


@dataclass(frozen=True)
class Weights:
    """Bytes of a stage's parts. `block`: the UNet's largest block plus everything outside of blocks."""

    unet: int
    block: int
    vae: int
    text_encoder: int

    @property
    def all(self) -> int:
        return self.unet + self.vae + self.text_encoder


@dataclass(frozen=True)
class Workload:
    """What a stage has to do: latents [batch, 4, frames, height, width] on a kind of device.

    itemsize: bytes of a number in the UNet. scale: pixels per latent pixel along an edge. vae_width: channels of the
    VAE's first level. encodes: frames come in through the VAE. beside: bytes already in use, without the weights.
    """

    stage: StageSpec
    unet: UNetConfig
    weights: Weights
    batch: int
    frames: int
    height: int
    width: int
    itemsize: int
    scale: int
    vae_width: int
    encodes: bool
    device: str
    beside: int = 0

    def seen(self, execution: Execution) -> tuple[int, int, int, int]:
        """Clips, frames, height and width of one evaluation of the UNet."""
        batch = self.batch * (2 if execution.guided and not execution.sequential_guidance else 1)
        height, width = (min(execution.tile or side, side) for side in (self.height, self.width))
        return batch, min(execution.window or self.frames, self.frames), height, width

    def slice_elements(self, execution: Execution) -> int:
        """`VideoUNet.slice_elements` for the number of slices that the estimate assumes."""
        return max(MIN_SLICE, math.prod(self.seen(execution)) * self.unet.block_out_channels[0] // SLICES)


@dataclass(frozen=True)
class Execution:
    """How a stage works.

    sequential_guidance: the two halves of the guidance one after the other. sliced: the UNet in slices. offload:
    "none", "parts" (one part on the device at a time) or "blocks" (and of the UNet one block). vae_frames: frames that
    the VAE sees at once; 0: as many as the device handles well. vae_tile: edge in latent pixels; 0: the whole image.
    window, tile: in latents; 0: all. overlap, tile_overlap: what neighbours share. kept_channels: of the feature that a
    speed preset keeps per window and tile, see `kept_channels`.
    """

    guided: bool = True
    sequential_guidance: bool = False
    sliced: bool = False
    offload: str = "none"
    vae_frames: int = 0
    vae_tile: int = 0
    window: int = 0
    tile: int = 0
    overlap: int = 0
    tile_overlap: int = 0
    kept_channels: int = 0


def kept_channels(config: UNetConfig, speed: Speed) -> int:
    """The width of the feature that a speed keeps from step to step, see `models.deep_feature`; 0: none."""
    if speed.full_every == 1:
        return 0
    return config.block_out_channels[0 if speed.depth <= config.layers_per_block else 1]


def kept_bytes(work: Workload, execution: Execution) -> int:
    """Bytes that a speed preset keeps of all windows and tiles, for each half of the guidance; a device holds part
    of them."""
    elements = execution.kept_channels * work.batch * (2 if execution.guided else 1)
    elements *= _covered(work.frames, execution.window, execution.overlap)
    for side in (work.height, work.width):
        elements *= _covered(side, execution.tile, execution.tile_overlap)
    return work.itemsize * (elements if work.device == "cpu" else min(elements, MAX_ELEMENTS))


def _covered(length: int, size: int, overlap: int) -> int:
    """The total length of overlapping spans of a size, see `sampling.windows.spans`."""
    if not size or size >= length or overlap >= size:  # the last is refused in words before any work
        return length
    return size * math.ceil((length - overlap) / (size - overlap))


def stage_bytes(work: Workload, execution: Execution) -> int:
    """The peak of encoding the text, encoding frames, denoising and decoding."""
    weights, parts = work.weights, execution.offload != "none"
    whole = weights.all
    of_unet = weights.block if execution.offload == "blocks" else weights.unet
    denoising = denoising_bytes(work, execution) + (of_unet if parts else whole)
    coding = (weights.vae if parts else whole) + decoding_bytes(work, execution)
    text = weights.text_encoder if parts else whole
    return work.beside + max(denoising, coding, text)


def denoising_bytes(work: Workload, execution: Execution) -> int:
    """Bytes of one evaluation, the clip's latents, and what a speed preset keeps."""
    alive = unet_bytes(work.unet, work.itemsize, work.seen(execution), execution.sliced)
    return (
        round(alive * (KEPT_ON_CPU if work.device == "cpu" else 1))
        + _stored_latents(work)
        + kept_bytes(work, execution)
    )


def decoding_bytes(work: Workload, execution: Execution) -> int:
    """Bytes of the VAE on some frames, or tiles of them, and of the clip before and after."""
    sides = (min(execution.vae_tile or side, side) * work.scale for side in (work.height, work.width))
    frame = work.batch
    for side in sides:
        frame *= side
    at_once = execution.vae_frames or max(1, pixels_per_batch(work.device) // max(1, frame))
    maps = DECODER_MAPS_ON_CPU if work.device == "cpu" else DECODER_MAPS
    seen = round(maps * min(at_once, work.frames) * frame * work.vae_width * FLOAT32)
    return seen + _stored_latents(work) + _video(work)


def _stored_latents(work: Workload) -> int:
    pixels = work.batch * work.frames * work.height * work.width
    if work.device != "cpu" and 4 * pixels > MAX_ELEMENTS:
        return 0
    low_resolution = 3 * PIXEL_COPIES if work.unet.num_class_embeds else 0
    return (4 * LATENT_COPIES + low_resolution) * pixels * FLOAT32


def _video(work: Workload) -> int:
    """Bytes of the decoded frames, twice while they are joined; on another device only a part of them."""
    pixels = work.batch * work.frames * work.height * work.width * work.scale**2
    return 2 * 3 * pixels * UINT8 if work.device == "cpu" else 0
