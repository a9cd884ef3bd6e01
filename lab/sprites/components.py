"""Connected parts of binary masks, by spreading labels with max-pooling (no SciPy needed)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def _numbers(mask: Tensor) -> Tensor:
    """1, 2, … in every pixel of [n, h, w], float32, exact."""
    return torch.arange(1, mask[0].numel() + 1, dtype=torch.float32).view(1, *mask.shape[1:])


def _spread(labels: Tensor, allowed: Tensor, diagonal: bool) -> Tensor:
    """Spreads the greatest label through each connected part of `allowed`, [n, h, w].

    A label names a pixel by its number (a multiple of their count may be added): besides its neighbours' labels, a
    pixel takes what the pixel that its label names has by now, so that labels travel in ever longer leaps.
    """
    count = labels[0].numel()
    while True:
        grown = labels[:, None]
        if diagonal:
            grown = F.max_pool2d(grown, 3, 1, 1)
        else:
            across = F.max_pool2d(grown, (1, 3), 1, (0, 1))
            grown = torch.maximum(across, F.max_pool2d(grown, (3, 1), 1, (1, 0)))
        grown = (grown[:, 0] * allowed).flatten(1)
        named = (grown.long() - 1) % count
        grown = torch.maximum(grown, grown.gather(1, named)).view_as(allowed) * allowed
        if torch.equal(grown, labels):
            return labels
        labels = grown


def largest_component(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The largest 8-connected part of every mask [n, h, w], and its share of the mask's area [n]."""
    count, height, width = mask.shape
    allowed = mask.float()
    labels = _spread(_numbers(mask) * allowed, allowed, diagonal=True).long().flatten(1)
    sizes = torch.zeros(count, height * width + 1).scatter_add_(1, labels, allowed.flatten(1))
    sizes[:, 0] = 0
    size, label = sizes.max(1)
    largest = (labels == label[:, None]) & mask.flatten(1)
    return largest.view_as(mask), size / allowed.flatten(1).sum(1).clamp_min(1)


def fill_holes(mask: Tensor) -> Tensor:
    """Every mask [n, h, w] with the holes that do not reach the image's border filled."""
    outside = (~mask).float()
    inner = torch.zeros_like(outside)
    inner[:, 1:-1, 1:-1] = 1
    count = mask[0].numel()
    labels = (_numbers(mask) + count * (1 - inner)) * outside
    return _spread(labels, outside, diagonal=False) <= count
