"""Low-pass filters, and mixtures of the low frequencies of one signal with the high ones of another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import UsageError

FILTERS = ("butterworth", "gaussian")


def low_pass(shape: Sequence[int], cutoffs: Sequence[float], kind: str = "butterworth", order: int = 4) -> Tensor:
    """How much of every frequency of a signal of this shape passes, 0…1, in the order of `torch.fft.fftn`.

    Args:
        cutoffs: along each axis, in parts of its highest frequency: where a Butterworth filter falls to 1/2, a
            Gaussian one to exp(−1/2).
        order: of the Butterworth filter: how steeply it falls.

    Raises:
        UsageError: an unknown kind, or a cutoff that is not positive.
    """
    if kind not in FILTERS:
        raise UsageError(f"Unknown filter '{kind}'. Choose {' or '.join(FILTERS)}.")
    if min(cutoffs) <= 0:
        raise UsageError(f"Cutoff frequencies must be above 0, not {min(cutoffs):g}.")
    axes = (2 * torch.fft.fftfreq(size) / cutoff for size, cutoff in zip(shape, cutoffs, strict=True))
    square = sum((axis**2 for axis in torch.meshgrid(*axes, indexing="ij")), torch.zeros(()))
    return torch.exp(-square / 2) if kind == "gaussian" else 1 / (1 + square**order)


def mixed(low: Tensor, high: Tensor, passed: Tensor, dims: Sequence[int]) -> Tensor:
    """Low frequencies along `dims` of one float32 tensor, as far as they are `passed`, and the high ones of another."""
    of_high, of_low = (torch.fft.fftn(signal, dim=tuple(dims)) for signal in (high, low))
    return torch.fft.ifftn(torch.lerp(of_high, of_low, passed.to(torch.complex64)), dim=tuple(dims)).real
