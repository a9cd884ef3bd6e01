"""Feature maps worked on in parts, so that what an operation needs in between exists for one part at a time.

Exact: spatial operations go over some frames at once, temporal ones over some pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def slices_of(x: Tensor, dim: int, elements: int) -> list[slice]:
    """Slices of equal length along `dim` that hold at most `elements` numbers of x each, but one index at least."""
    length = x.shape[dim]
    most = max(1, elements * length // x.numel())
    size = math.ceil(length / math.ceil(length / most))
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def by_frames(work: Callable[[Tensor], Tensor], x: Tensor, elements: int | None) -> Tensor:
    """work(x) for work that treats every frame of x [batch · frames, channels, height, width] by itself."""
    parts = [slice(None)] if elements is None else slices_of(x, 0, elements)
    if len(parts) == 1:
        return work(x)
    first = work(x[parts[0]])
    out = torch.empty_like(first[:1].expand(len(x), -1, -1, -1), memory_format=torch.channels_last)
    out[parts[0]] = first
    for part in parts[1:]:
        out[part] = work(x[part])
    return out
