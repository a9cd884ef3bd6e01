"""DeepCache (Ma et al. 2024): at most steps only the shallow layers of the UNet run, on an earlier deep feature."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch

from ..models.deep_feature import DeepFeature
from ..speed import Speed
from .step_cache import StepCache


class DeepCache:
    """The deep features that one step of a region takes from its cache or stores there, one for each half of guidance.

    Either all halves have recent features, or the whole network runs for all of them. So it makes no difference whether
    they are evaluated together.
    """

    def __init__(self, cache: StepCache, halves: Sequence[str], speed: Speed) -> None:
        """halves: which are evaluated at this step, by name."""
        self.halves, self._cache, self._depth, self._every = halves, cache, speed.depth, speed.full_every
        self._known = {half: cache.recent(half, self._every) for half in halves}

    @contextmanager
    def feature(self, halves: Sequence[str], device: torch.device) -> Generator[dict[str, DeepFeature]]:
        """A further input of the network for these halves as one batch; what the network stores in it is kept."""
        if self._every == 1:
            yield {}
            return
        known = {half: value for half, value in self._known.items() if value is not None}
        recent = len(known) == len(self._known)
        value = torch.cat([known[half].to(device) for half in halves]) if recent else None
        deep = DeepFeature(self._depth, value)
        yield {"deep": deep}
        if not recent and deep.value is not None:
            for half, value in zip(halves, deep.value.chunk(len(halves)), strict=True):
                self._cache.keep(half, value)
