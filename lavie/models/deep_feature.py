"""DeepCache (Ma et al. 2024): the deep layers of a UNet change little from step to step, so their feature is kept."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class DeepFeature:
    """The input of the last layers of the up blocks, and how many of those layers run when it is known.

    depth: of the last `depth` layers (a resnet and its transformer) of the way up, and the `depth` − 1 first of the way
        down, whose skip tensors they take; at most those of the shallowest level. The paper's "branch" counts from 0.
    value: [batch · frames, channels, height, width] of an earlier evaluation: only the shallow layers run. None: the
        whole network runs, and leaves it here.
    """

    depth: int = 1
    value: Tensor | None = None
