"""Prompts that change over time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ..bounded import read_text
from ..errors import LavieError, UsageError

_ENTRY = re.compile(r"\s*([+-]?\d{1,12})\s*:(.*)", re.DOTALL)
_NEXT_ENTRY = re.compile(r",(?=\s*[+-]?\d+\s*:)")


@dataclass(frozen=True)
class PromptSchedule:
    """The prompts and the frames that they start at: ((0, "a red ball"), (16, "a blue star")).

    Raises:
        UsageError: the first frame is not 0, frames do not rise, or a prompt is empty.
    """

    entries: tuple[tuple[int, str], ...]

    def __post_init__(self) -> None:
        if not self.entries:
            raise UsageError("The prompt schedule is empty. Write it as '0: a red ball, 16: a blue star'.")
        for frame, prompt in self.entries:
            if frame < 0:
                raise UsageError(f"A prompt cannot begin at frame {frame}: frames count from 0.")
            if not prompt.strip():
                raise UsageError(f"The prompt at frame {frame} is empty.")
        if self.frames[0] != 0:
            raise UsageError(f"The prompts begin at frame {self.frames[0]}. Give one for frame 0.")
        for before, after in pairwise(self.frames):
            if after == before:
                raise UsageError(f"Two prompts begin at frame {after}. Give each a frame of its own.")
            if after < before:
                raise UsageError(f"The prompt at frame {after} comes after that at frame {before}: frames must rise.")

    @classmethod
    def parse(cls, text: str) -> PromptSchedule:
        """Parse "0: a red ball, 16: a blue star", or one entry per line; prompts may contain commas.

        Raises:
            UsageError: an entry without a frame number, or what the class refuses.
        """
        lines = [line for line in text.splitlines() if line.strip()]
        parts = lines if len(lines) > 1 else _NEXT_ENTRY.split("".join(lines))
        return cls(tuple(_entry(part) for part in parts if part.strip()))

    @classmethod
    def read(cls, path: str | Path) -> PromptSchedule:
        """Read a UTF-8 file in either form that `parse` takes.

        Raises:
            UsageError: it cannot be read, or what `parse` refuses.
        """
        try:
            text = read_text(Path(path))
        except LavieError as error:
            raise UsageError(f"The prompts cannot be read: {error}") from error
        return cls.parse(text)

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(frame for frame, _ in self.entries)

    @property
    def prompts(self) -> tuple[str, ...]:
        return tuple(prompt for _, prompt in self.entries)

    def __str__(self) -> str:
        return "\n".join(f"{frame}: {prompt}" for frame, prompt in self.entries)

    def over_time(self, states: Tensor, num_frames: int, transition: int = 0) -> Tensor:
        """Embeddings [1, num_frames, tokens, channels] from those of the prompts, [len(entries), tokens, channels].

        Every prompt applies alone from its frame on. In the `transition` frames before the next one's (or as many as
        there are between the two), the embedding changes linearly to the next.

        Raises:
            UsageError: a prompt after the last frame, or a negative transition.
        """
        if self.frames[-1] >= num_frames:
            raise UsageError(f"A prompt begins at frame {self.frames[-1]}, but there are {num_frames} frames (from 0).")
        if transition < 0:
            raise UsageError(f"A transition takes 0 frames or more, not {transition}.")
        weights = torch.zeros(num_frames, len(self.entries))
        for number, start in enumerate(self.frames):
            weights[start:, number] = 1
            if number:
                length = min(transition, start - self.frames[number - 1] - 1)
                weights[start - length : start, number] = torch.arange(1, length + 1) / (length + 1)
                weights[:, number - 1] -= weights[:, number]
        return torch.einsum("fn,ntc->ftc", weights.to(states), states)[None]


def _entry(text: str) -> tuple[int, str]:
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise UsageError(f"'{text.strip()}' is no prompt with its first frame, such as '16: a blue star'.")
    return int(found[1]), found[2].strip()
