"""Windows over time and tiles over the image, blended so that no seam shows.

All regions of a step are predicted from the same noisy latents and averaged by weights that fall off towards
inner borders, then ONE scheduler step is taken (MultiDiffusion, Bar-Tal et al. 2023). A single region that
covers everything gives the plain prediction, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from ..errors import UsageError
from .guidance import Predict, Region


def spans(length: int, size: int, overlap: int) -> list[slice]:
    """Slices of `size` that cover `length`, neighbours sharing at least `overlap`; the last ends at `length`.

    Raises:
        UsageError: size < 1, or an overlap that leaves no progress.
    """
    if size < 1 or not 0 <= overlap < size:
        raise UsageError(f"A window of {size} with an overlap of {overlap} cannot move: the overlap must be smaller.")
    if length <= size:
        return [slice(0, length)]
    starts = [*range(0, length - size, size - overlap), length - size]
    return [slice(start, start + size) for start in starts]


def regions(shape: Sequence[int], windows: list[slice], tile: int | None = None, tile_overlap: int = 0) -> list[Region]:
    """All windows over frames × all square tiles over an image of shape (frames, height, width)."""
    _, height, width = shape
    rows = spans(height, tile or height, tile_overlap if tile else 0)
    columns = spans(width, tile or width, tile_overlap if tile else 0)
    return list(product(windows, rows, columns))


def ramp(span: slice, length: int, overlap: int) -> Tensor:
    """Weights over a span: 1 inside, falling linearly over `overlap` towards borders that have a neighbour."""
    size = span.stop - span.start
    position = torch.arange(size, dtype=torch.float32)
    rise = (position + 1) / (overlap + 1) if span.start > 0 else torch.ones(size)
    fall = (size - position) / (overlap + 1) if span.stop < length else torch.ones(size)
    return torch.minimum(rise, fall).clamp(max=1.0)


def blended(
    predict: Predict,
    parts: list[Region],
    overlaps: tuple[int, int],
    after: Callable[[float], None] | None = None,
) -> Predict:
    """A prediction over the whole clip from predictions of its parts; overlaps = (frames, pixels).

    after: called with the timestep after every part but the last (the end of the step reports that one); raise in it to
    stop.
    """
    if len(parts) == 1:
        return predict

    def whole(latents: Tensor, timestep: Tensor, region: Region) -> Tensor:
        total = torch.zeros_like(latents)
        weights = torch.zeros((1, 1, *latents.shape[2:]), device=latents.device)
        for number, part in enumerate(parts, start=1):
            weight = _weight(part, latents.shape[2:], overlaps).to(latents.device)
            total[(..., *part)] += weight * predict(latents[(..., *part)], timestep, part)
            weights[(..., *part)] += weight
            if after is not None and number < len(parts):
                after(float(timestep))
        return total / weights

    return whole


def _weight(part: Region, shape: torch.Size, overlaps: tuple[int, int]) -> Tensor:
    frames, rows, columns = (
        ramp(span, length, overlap)
        for span, length, overlap in zip(part, shape, (overlaps[0], overlaps[1], overlaps[1]), strict=True)
    )
    return frames[:, None, None] * rows[:, None] * columns
