"""How close frames are to the true ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import conv2d

from ..models.latents import decode_latents, encode_video, to_uint8

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

PEAK = 255.0


def squared_error(frames: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The mean squared error of uint8 frames [f, h, w, 3]; `weight` [f, h, w] says how much each place counts."""
    error = ((frames.astype(np.float32) - truth) ** 2).mean(-1)
    return float(error.mean() if weight is None else (error * weight).sum() / weight.sum())


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB; infinite if nothing differs.

    Of several clips it is taken from the mean of their squared errors: a clip without any error would make a mean of
    ratios infinite.
    """
    return math.inf if mean_squared_error == 0 else 10 * math.log10(PEAK**2 / mean_squared_error)


def ssim(frames: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of the brightness of uint8 frames [f, h, w, 3], 11 pixels or more high
    and wide: 1 where nothing differs. As in the paper, in a Gaussian window of 11 pixels and deviation 1.5."""
    distance = torch.arange(11, dtype=torch.float64) - 5
    bell = torch.exp(-(distance**2) / (2 * 1.5**2))
    window = torch.outer(bell, bell)[None, None] / bell.sum() ** 2
    x, y = (torch.from_numpy(each.mean(-1, dtype=np.float64))[:, None] for each in (frames, truth))
    mean_x, mean_y, xx, yy, xy = (conv2d(each, window) for each in (x, y, x * x, y * y, x * y))
    small, tiny = (0.03 * PEAK) ** 2, (0.01 * PEAK) ** 2
    structure = (2 * (xy - mean_x * mean_y) + small) / (xx - mean_x**2 + yy - mean_y**2 + small)
    return float((structure * (2 * mean_x * mean_y + tiny) / (mean_x**2 + mean_y**2 + tiny)).mean())


def edges(frames: np.ndarray) -> np.ndarray:
    """Differences of neighbouring pixels, downwards and to the right: float32 [2, f, h − 1, w − 1, 3]."""
    pixels = frames.astype(np.float32)
    down = pixels[:, 1:, :-1] - pixels[:, :-1, :-1]
    right = pixels[:, :-1, 1:] - pixels[:, :-1, :-1]
    return np.stack((down, right))


def sharpness(frames: np.ndarray, truth: np.ndarray) -> float:
    """Energy of the edges ÷ that of the true frames' edges: 1 is as sharp, less is softer, more is noise or ringing."""
    return float((edges(frames) ** 2).mean() / (edges(truth) ** 2).mean())


def edge_error(frames: np.ndarray, truth: np.ndarray) -> float:
    """Energy of what the edges miss ÷ that of the true ones: 0 for the true frames, 1 for an image without edges."""
    true_edges = edges(truth)
    return float(((edges(frames) - true_edges) ** 2).mean() / (true_edges**2).mean())


def flicker(frames: np.ndarray, truth: np.ndarray) -> float:
    """How differently frames change from one to the next compared with the true frames: root mean square, of 255."""
    change = np.diff(frames.astype(np.float32), axis=0) - np.diff(truth.astype(np.float32), axis=0)
    return float((change**2).mean() ** 0.5)


def frames_through(vae: AutoencoderKL, frames: np.ndarray) -> np.ndarray:
    """uint8 [f, h, w, 3] as the pipelines encode and decode it, from the posterior's mean."""
    video = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    decoded = decode_latents(vae, encode_video(vae, video))
    return to_uint8(decoded.cpu())[0].permute(1, 2, 3, 0).numpy()
