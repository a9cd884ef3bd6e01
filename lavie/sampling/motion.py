"""VSTAR (Li et al. 2024): a band over the temporal attention, so that a clip changes more from frame to frame."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError
from ..models.attention import Attend, TemporalStrategy

WIDTH = 4  # a frame's neighbours within one standard deviation: frames ÷ WIDTH


def motion_bias(motion: float, strategy: TemporalStrategy | None = None) -> TemporalStrategy | None:
    """`strategy`, or plain attention, with more weight on near frames; `motion` 0 leaves it unchanged.

    motion: how much is added to the score of a frame with itself; it falls off to both sides as a Gaussian. The higher
    it is, the less distant frames resemble each other. 1…5 is a lot.

    Raises:
        UsageError: motion is negative.
    """
    if not 0 <= motion < torch.inf:
        raise UsageError(f"Motion must be 0 or more, not {motion:g}.")
    if motion == 0:
        return strategy

    def banded(attend: Attend, x: Tensor) -> Tensor:
        def with_band(x: Tensor, bias: Tensor | None = None) -> Tensor:
            band = toeplitz_band(x.shape[1], motion).to(x.device)
            return attend(x, band if bias is None else band + bias)

        return with_band(x) if strategy is None else strategy(with_band, x)

    return banded


def toeplitz_band(frames: int, height: float) -> Tensor:
    """A symmetric Toeplitz matrix [frames, frames], Gaussian in the distance from the diagonal, where it is `height`.

    The paper's temporal attention regularisation.
    """
    position = torch.arange(frames, dtype=torch.float32)
    distance = (position[:, None] - position) / max(1.0, frames / WIDTH)
    return height * torch.exp(-(distance**2) / 2)
