"""Several sources as one stream of rows, by weights that may change over the steps (a curriculum)."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from ...errors import UsageError
from .randomness import generator_of
from .source import ClipSource

Weights = Mapping[str, float]


class Mixture:
    """Sources, each with its weight at every step.

    schedule: [(step, {source's name: weight}), …]; the weights change linearly between two steps and are constant
    before the first and after the last. A missing name has weight 0. A single mapping is for all steps; None gives
    every row of every source the same weight.

    At every step, each source has given its share of the examples, to within one for each other source. Every pass over
    a source is in a new random order: no row is shown twice before all have been shown.

    Raises:
        UsageError: no source, two of one name, an unknown name, or weights that are negative or all 0.
    """

    def __init__(
        self, sources: Sequence[ClipSource], schedule: Sequence[tuple[int, Weights]] | Weights | None = None
    ) -> None:
        self.sources = list(sources)
        names = [source.name for source in self.sources]
        if not names:
            raise UsageError("There is nothing to train on: name at least one source of clips.")
        if len(set(names)) < len(names):
            raise UsageError(f"Two sources have the same name among {', '.join(sorted(names))}; each needs its own.")
        if schedule is None:
            schedule = {source.name: len(source) for source in self.sources}
        self.schedule = [(0, schedule)] if isinstance(schedule, Mapping) else sorted(schedule, key=lambda knot: knot[0])
        _check(self.schedule, names)
        self._shares_taken: dict[int, _Shares] = {}

    def weights(self, step: int) -> dict[str, float]:
        """The share of each source at a step; they sum to 1."""
        return dict(zip((s.name for s in self.sources), self._shares(step, 1)[0].tolist(), strict=True))

    def pick(self, number: int, batch_size: int, seed: int) -> tuple[ClipSource, int]:
        """The source and row of example `number` in a run of `batch_size` examples per step."""
        index, rank = (0, number) if len(self.sources) == 1 else self._turn(number, batch_size, seed)
        source = self.sources[index]
        turn, place = divmod(rank, len(source))
        return source, int(_order(source, seed, turn)[place])

    def _turn(self, number: int, batch_size: int, seed: int) -> tuple[int, int]:
        """Which source it is, and how many examples that source gave before."""
        if batch_size not in self._shares_taken:
            self._shares_taken[batch_size] = _Shares(len(self.sources), batch_size)
        step, place = divmod(number, batch_size)
        taken = self._shares_taken[batch_size]
        while len(taken) <= step + 1:
            taken.extend(self._shares(len(taken) - 1, 1024))
        before = [column[step] for column in taken.columns]
        counts = [column[step + 1] - first for column, first in zip(taken.columns, before, strict=True)]
        turns = np.repeat(np.arange(len(counts)), counts)[_places(batch_size, seed, step)]
        index = int(turns[place])
        return index, before[index] + int((turns[:place] == index).sum())

    def _shares(self, first: int, count: int) -> np.ndarray:
        """Shares of the steps from `first` on, float64 [count, sources]; each row sums to 1."""
        knots = [step for step, _ in self.schedule]
        steps = np.arange(first, first + count)
        columns = [
            np.interp(steps, knots, [weights.get(source.name, 0) for _, weights in self.schedule])
            for source in self.sources
        ]
        weights = np.stack(columns, axis=1)
        return weights / weights.sum(axis=1, keepdims=True)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_shares_taken": {}}


class _Shares:
    """How many examples every source has given before each step, in whole numbers that follow the weights."""

    def __init__(self, sources: int, batch_size: int) -> None:
        self.batch_size = batch_size
        self.columns = [array("q", [0]) for _ in range(sources)]
        self._owed = [0.0] * sources

    def __len__(self) -> int:
        return len(self.columns[0])

    def extend(self, shares: np.ndarray) -> None:
        """Add steps. Every example goes to the source that is owed most; most are assigned at once."""
        sources = range(len(self.columns))
        for row in (shares * self.batch_size).tolist():
            owed = [before + share for before, share in zip(self._owed, row, strict=True)]
            counts = [max(0, int(o) - len(row)) for o in owed]
            owed = [o - count for o, count in zip(owed, counts, strict=True)]
            for _ in range(self.batch_size - sum(counts)):
                index = max(sources, key=owed.__getitem__)
                counts[index] += 1
                owed[index] -= 1
            self._owed = owed
            for column, count in zip(self.columns, counts, strict=True):
                column.append(column[-1] + count)


@lru_cache(maxsize=16)
def _order(source: ClipSource, seed: int, turn: int) -> np.ndarray:
    return source.order(seed, "order", source.name, turn).int().numpy()


@lru_cache(maxsize=16)
def _places(batch_size: int, seed: int, step: int) -> np.ndarray:
    return torch.randperm(batch_size, generator=generator_of(seed, "places", step)).numpy()


def _check(schedule: Sequence[tuple[int, Weights]], names: list[str]) -> None:
    if not schedule:
        raise UsageError("The curriculum is empty: give at least one step and its weights.")
    if any(first[0] == second[0] for first, second in pairwise(schedule)):
        raise UsageError("The curriculum names a step twice; give each step one set of weights.")
    for step, weights in schedule:
        unknown = sorted(set(weights) - set(names))
        if unknown:
            raise UsageError(f"The curriculum names '{unknown[0]}' at step {step}; the sources are {', '.join(names)}.")
        if not all(np.isfinite(w) and w >= 0 for w in weights.values()) or sum(weights.values()) <= 0:
            raise UsageError(f"Weights must be 0 or more and not all 0, but at step {step} they are {dict(weights)}.")
