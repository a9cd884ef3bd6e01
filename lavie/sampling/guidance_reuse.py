"""FasterCache's reuse of guidance (Lv et al. 2024): at some steps the negative half is not evaluated.

The difference of the halves changes little from step to step, so we reuse that of the last step that evaluated both.
"""

from __future__ import annotations

from torch import Tensor


def reused(positive: Tensor, difference: Tensor, guidance_scale: float) -> Tensor:
    """The guided prediction from the positive half and an earlier step's positive − negative."""
    return positive + (guidance_scale - 1) * difference
