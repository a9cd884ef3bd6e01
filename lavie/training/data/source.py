"""The interface that everything that gives clips has."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from .clip import Clip, ClipRequest
from .filters import DataReport
from .randomness import generator_of


class ClipSource(ABC):
    """Captioned clips by row, 0…len − 1.

    What `caption` and `read` return depends only on their arguments, not on the process or on what was read before.
    Sources are pickled into the workers that read.
    """

    name: str
    report: DataReport

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def caption(self, row: int, generator: torch.Generator) -> str: ...

    @abstractmethod
    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        """The clip of a row.

        Raises:
            UnreadableClip: its file is broken, or lacks what the request asks for.
            UsageError: this source can never fulfil the request.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when the rows, their files or captions change; what was computed from them is then stale."""

    def order(self, *path: int | str) -> torch.Tensor:
        """All rows in the order of one pass, int64 [rows]; `path` seeds the order, see `randomness`."""
        return torch.randperm(len(self), generator=generator_of(*path))
