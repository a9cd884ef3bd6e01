"""Guidance in an interval (Kynkäänniemi et al. 2024): early guidance reduces variety, late guidance changes very
little."""

from __future__ import annotations

from .schedule import NUM_TRAIN_TIMESTEPS


def in_interval(timestep: float, start: float, stop: float) -> bool:
    """Whether guidance acts at a timestep 0…999; start and stop: 0 at pure noise, 1 at the clean clip.

    The paper's interval is one of noise levels; these are timesteps, which say the same.
    """
    progress = 1 - timestep / (NUM_TRAIN_TIMESTEPS - 1)
    return start <= min(max(progress, 0.0), 1.0) <= stop
