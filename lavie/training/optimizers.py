"""The optimizers, AdamW or Muon, and their learning rate over time."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..errors import UsageError
from .muon import Muon
from .settings import LoopSettings

MIN_RATE = 0.02  # of the peak, at the end of "cosine"
_BETAS = (0.9, 0.99)


def new_optimizers(model: nn.Module, settings: LoopSettings, fused: bool) -> list[torch.optim.Optimizer]:
    """Optimizers of all parameters that need gradients.

    "muon" takes the weights of linear layers and convolutions, and leaves embeddings, norms and biases to AdamW: rows
    of an embedding need not be orthogonal to each other.

    Raises:
        UsageError: no parameter learns.
    """
    weights, others = [], []
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for parameter in model.parameters():
        if parameter.requires_grad:
            is_weight = parameter.ndim >= 2 and id(parameter) not in embeddings and settings.optimizer == "muon"
            (weights if is_weight else others).append(parameter)
    if not weights and not others:
        raise UsageError("Nothing would learn: every weight of the network is frozen.")
    rate, decay = settings.learning_rate, settings.weight_decay
    optimizers: list[torch.optim.Optimizer] = []
    if others:
        optimizers.append(torch.optim.AdamW(others, rate, _BETAS, weight_decay=decay, fused=fused or None))
    if weights:
        optimizers.append(Muon(weights, rate, weight_decay=decay))
    return optimizers


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Linear warm-up, then constant or a half cosine down to 2 % of the peak at the last step."""
    rise = min(1.0, (step + 1) / max(1, settings.warmup))
    if settings.schedule == "constant":
        return settings.learning_rate * rise
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / settings.steps)))
    return settings.learning_rate * rise * (MIN_RATE + (1 - MIN_RATE) * fall)
