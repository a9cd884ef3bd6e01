"""The upscaler: large latents from noise and noised low-resolution pixels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...job import Job
from ...models.latents import decode_latents, encode_video
from ...pipelines.upscale import sample_upscale
from ...sampling.conditioning import low_resolution_noise
from ..data.clip import Clip
from .denoiser import Denoiser
from .preview import decoded, device_of, embedded, preview_config
from .stage import DenoisingStage

SCALE = 4
REDUCTIONS = ("area", "bicubic")


class Upscaler(DenoisingStage):
    """Clips four times as large, from windows of the image; by default only temporal layers learn.

    The low-resolution input is the large clip reduced, half of the time seen through the base stage's VAE, with noise
    of a level that the network is told. Source: the paper, section 4.3; vsr/.
    """

    name = "upscaler"

    @torch.no_grad()
    def encode(self, clip: Clip, generator: torch.Generator) -> dict[str, Tensor]:
        """ "latents" [4, f, h, w] of the large clip and "low_resolution" pixels [3, f, h, w] in −1…1."""
        if "latents" in clip.tensors:
            return clip.tensors
        latents = super().encode(clip, generator)
        mode = REDUCTIONS[int(torch.randint(len(REDUCTIONS), (), generator=generator))]
        seen_through_vae = float(torch.rand((), generator=generator)) < self.settings.decoded_share
        pixels = reduced(clip.tensors["video"], mode)
        if seen_through_vae and self.parts.base_vae is not None:
            vae = self.parts.base_vae
            pixels = decode_latents(vae, encode_video(vae, pixels[None])).clamp(-1, 1)[0]
        return {**latents, "low_resolution": pixels}

    def conditioned(self, encoded: dict[str, Tensor], generator: torch.Generator) -> tuple[Tensor, int]:
        pixels = encoded["low_resolution"].float()
        noise_level = int(torch.randint(self.settings.max_noise_level + 1, (), generator=generator))
        noise = torch.randn(pixels.shape, generator=generator)
        return low_resolution_noise(pixels, noise.to(pixels), noise_level), noise_level

    def samples(self, model: Denoiser) -> dict[str, np.ndarray]:
        """The first clips again, from their own low resolution."""
        config, clips = preview_config(self), {}
        for seed, clip in enumerate(self.sample_clips):
            pixels = self.encoded_sample(clip, device_of(model))["low_resolution"].float()
            text = embedded(self, model, clip.caption, config)
            job = Job.seeded(model.unet, text, config, [seed], device_of(model))
            made = sample_upscale(job, pixels[None])
            clips[clip.caption] = decoded(self, made, "truncate")
        return clips


def reduced(video: Tensor, mode: str) -> Tensor:
    """A quarter of the size of video [3, frames, H, W], by "area" or antialiased "bicubic"; −1…1."""
    frames, antialias = video.transpose(0, 1), mode == "bicubic"
    small = interpolate(frames, scale_factor=1 / SCALE, mode=mode, antialias=antialias)
    return small.clamp(-1, 1).transpose(0, 1)
