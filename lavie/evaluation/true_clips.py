"""Clips whose every frame is known, to compare with what a stage makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import UsageError


@dataclass(frozen=True)
class TrueClip:
    """caption: what it shows. frames: uint8 [f, h, w, 3]. subject: where that is, [f, h, w] in 0…1, if it is known.
    kind: what sort of clip it is, for a table of its own; "" for none."""

    caption: str
    frames: np.ndarray
    subject: np.ndarray | None = None
    kind: str = ""


class TrueClips(Protocol):
    """Clips by their numbers, each in any length and size."""

    def __len__(self) -> int: ...

    def caption(self, number: int) -> str: ...

    def clip(self, number: int, num_frames: int, height: int, width: int) -> TrueClip:
        """The whole clip, in this many frames."""
        ...

    def reduced(self, number: int, height: int, width: int, scale: int) -> tuple[np.ndarray, TrueClip]:
        """A few frames of the clip of that size, uint8 [f, h, w, 3], and `scale` times as large."""
        ...

    def shares(self, clips: Sequence[np.ndarray]) -> dict[str, float]:
        """Of clips made from all captions, the shares that show what these say, 0…1; empty if there is no way to
        tell."""
        ...


_clips: list[Callable[[int, int], TrueClips]] = []


def register_default_clips(made: Callable[[int, int], TrueClips]) -> None:
    """From now on `evaluate` without --videos measures what `made(count, seed)` gives."""
    _clips[:] = [made]


def has_default_clips() -> bool:
    return bool(_clips)


def default_clips() -> Callable[[int, int], TrueClips]:
    """The registered ones.

    Raises:
        UsageError: none are.
    """
    if not _clips:
        raise UsageError(
            "Name videos to measure: --videos with a folder of files and .txt captions beside them, a .csv, or .tar "
            "shards. Clips are rendered by `python -m lab evaluate`, in a checkout."
        )
    return _clips[0]
