"""Seamless noise, painted once and then looked up: the texture of clouds, ridges and water."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 256  # texels a side
CELLS = 4  # of the coarsest octave


def random_numbers(seed: int, name: str, count: int) -> Tensor:
    """`count` numbers in 0…1 that belong to a scene's seed and a name, the same everywhere."""
    key = sum(ord(letter) * 31**place for place, letter in enumerate(name))
    generator = torch.Generator().manual_seed((seed * 1_000_003 + key) % 2**63)
    return torch.rand(count, generator=generator)


@lru_cache(maxsize=64)
def texture(octaves: int, seed: int = 0) -> Tensor:
    """Fractal value noise that repeats at its borders, [1, 1, SIZE + 1, SIZE + 1], mean 0.5, deviation 0.18."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 1, SIZE, SIZE)
    for octave in range(octaves):
        cells = CELLS * 2**octave
        lattice = torch.rand(1, 1, cells, cells, generator=generator)
        padded = F.pad(lattice, (2, 2, 2, 2), mode="circular")
        margin = 2 * SIZE // cells
        layer = F.interpolate(padded, scale_factor=SIZE / cells, mode="bicubic", align_corners=False)
        total += 0.5**octave * layer[..., margin : margin + SIZE, margin : margin + SIZE]
    total = 0.5 + 0.18 * (total - total.mean()) / total.std()
    return F.pad(total, (0, 1, 0, 1), mode="circular")


def noise(u: Tensor, v: Tensor, octaves: int = 4, seed: int = 0) -> Tensor:
    """The texture at (u, v), which broadcast to [frames, height, width]; a step of 1 is one coarse cell."""
    u, v = torch.broadcast_tensors(u / CELLS, v / CELLS)
    grid = torch.stack((u - u.floor(), v - v.floor()), dim=-1).mul_(2).sub_(1)
    source = texture(octaves, seed)
    return F.grid_sample(source, grid.flatten(0, -3)[None], mode="bilinear", align_corners=True).view(u.shape)


def smooth(low: float | Tensor, high: float | Tensor, x: Tensor) -> Tensor:
    """0 below `low`, 1 above `high`, a smooth step between; falls where low > high."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def splats(x: Tensor, y: Tensor, at_x: Tensor, at_y: Tensor, width: Tensor, height: Tensor, weight: Tensor) -> Tensor:
    """The sum of soft dots, [frames, h, w].

    x, y: coordinates [f or 1, 1, w] and [f or 1, h, 1]. The dots' places, sizes and weights: [frames, dots].
    """
    across = torch.exp(-(((x - at_x[:, :, None]) / width[:, :, None]) ** 2))
    down = torch.exp(-(((y.transpose(1, 2) - at_y[:, :, None]) / height[:, :, None]) ** 2))
    return (weight[:, :, None] * down).transpose(1, 2) @ across
