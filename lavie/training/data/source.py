"""The one interface of everything that clips come from."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from .clip import Clip, ClipRequest
from .filters import DataReport
from .randomness import generator_of


class ClipSource(ABC):
    """Captioned clips by row, 0…len − 1.

    What `caption` and `read` give is decided by their arguments alone, whatever was read before and in whichever
    process. Sources are pickled into the workers that read.
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
            UnreadableClip: its file is broken, or has not what the request asks for.
            UsageError: this source can never give what the request asks for.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when the rows, their files or captions change: what was computed from them is stale then."""

    def order(self, *path: int | str) -> torch.Tensor:
        """All rows in the order of one pass, int64 [rows]; `path` is the place that the order is random by."""
        return torch.randperm(len(self), generator=generator_of(*path))
