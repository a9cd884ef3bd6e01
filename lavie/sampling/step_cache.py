"""What every region of a clip keeps from one step to the next, for reuse."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ..runtime import storage_device

Slices = tuple[slice, ...]
Key = tuple[tuple[Any, Any], ...]  # of a region: from where to where along each axis


@dataclass
class StepCache:
    """The steps of one region so far.

    step: its number, from 0. kept: tensors by name, each with the step that it is of. ledger: how many numbers every
    region of the run keeps, by region and name.
    """

    timestep: float = math.inf
    step: int = 0
    kept: dict[str, tuple[int, Tensor]] = field(default_factory=dict)
    region: Key = ()
    ledger: Counter[tuple[Key, str]] = field(default_factory=Counter)

    def keep(self, name: str, tensor: Tensor) -> None:
        """Once all regions together keep too much for a device, the rest is kept in main memory."""
        self.ledger[self.region, name] = tensor.numel()
        self.kept[name] = self.step, tensor.to(storage_device(self.ledger.total(), tensor.device))

    def recent(self, name: str, every: int) -> Tensor | None:
        """What was kept under this name less than `every` steps ago."""
        step, tensor = self.kept.get(name, (-math.inf, None))
        return tensor if self.step - step < every else None


class StepCaches:
    """One cache for every region. A timestep that is not lower than the last one starts another run."""

    def __init__(self) -> None:
        self._of: dict[Key, StepCache] = {}
        self._ledger: Counter[tuple[Key, str]] = Counter()

    def at(self, region: Slices, timestep: float) -> StepCache:
        """The cache of a region, advanced to a step."""
        key = tuple((each.start, each.stop) for each in region)
        cache = self._of.get(key)
        if cache is None or timestep >= cache.timestep:
            cache = self._of[key] = StepCache(timestep, region=key, ledger=self._ledger)
        else:
            cache.timestep, cache.step = timestep, cache.step + 1
        return cache
