"""Joins segments into one video; where two overlap, one fades into the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np


def crossfaded(segments: Iterable[Iterable[np.ndarray]], overlap: int) -> Iterator[np.ndarray]:
    """The joined frames, uint8 [height, width, 3], of segments whose first `overlap` frames are the last ones of the
    segment before.

    Holds `overlap` frames at a time.
    """
    before: list[np.ndarray] = []
    for segment in segments:
        held: deque[np.ndarray] = deque()
        for place, frame in enumerate(segment):
            if place < len(before):
                old, share = before[place], (place + 1) / (overlap + 1)
                frame = np.rint(old + share * (frame.astype(np.float32) - old)).astype(np.uint8)
            held.append(frame)
            if len(held) > overlap:
                yield held.popleft()
        before = list(held)
    yield from before
