"""The work folder of a run: its finished segments, each a folder of PNG frames, and the settings that made them.

A segment appears in it only once it is complete, so after a stop at any time the run can resume from it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from ...atomic import PREFIX, claimed, discard, remove, written_whole
from ...bounded import read_json
from ...errors import LavieError, UsageError
from ...video import VideoInfo, VideoWriter, iter_video, parts_of, probe_video
from ..output import VideoOutput
from .settings import upgraded

SETTINGS = "settings.json"


class SegmentFolder:
    """`<output>.parts` beside an output."""

    def __init__(self, output: str | os.PathLike[str]) -> None:
        self.folder = parts_of(output)

    def claimed(self) -> AbstractContextManager[None]:
        """Be the only process that works in the folder; raises LavieError if another does."""
        return claimed(self.folder)

    def open(self, settings: dict[str, Any], restart: bool = False) -> None:
        """Create the folder, or resume in the existing one.

        Args:
            settings: as JSON holds them.
            restart: discard the segments of an earlier run.

        Raises:
            UsageError: its segments were made with other settings, or it is another kind of folder.
        """
        stored = self._stored()
        if stored is not None and restart:
            self.remove()
        elif stored:
            stored = upgraded(stored)
            other = [name for name in sorted({*settings, *stored}) if settings.get(name) != stored.get(name)]
            if other:
                raise UsageError(
                    f"{self.folder} holds segments that were made with another {', '.join(other)}. "
                    "Give the same settings to go on from them, or restart (--restart) without them."
                )
        self.folder.mkdir(exist_ok=True)
        for left in self.folder.glob(f"{PREFIX}*"):  # nobody else is at work here
            remove(left)
        with written_whole(self.folder / SETTINGS) as partial:
            partial.write_text(json.dumps(settings, indent=1), encoding="utf-8")

    def has(self, number: int) -> bool:
        return self._place(number).is_dir()

    def has_any(self) -> bool:
        return self.folder.is_dir() and any(place.name.isdecimal() for place in self.folder.iterdir())

    def write(self, number: int, video: VideoOutput) -> None:
        """Raises LavieError if the disk is full."""
        with VideoWriter(f"{self._place(number)}/", video.fps, video.metadata) as writer:
            writer.write(video.frames)

    def info(self, number: int) -> VideoInfo:
        """Size, frame rate and metadata of a finished segment."""
        return probe_video(self._place(number))

    def frames(self, number: int) -> Iterator[np.ndarray]:
        """The frames of a finished segment, one at a time."""
        return iter_video(self._place(number))

    def remove(self) -> None:
        discard(self.folder)

    def _place(self, number: int) -> Path:
        return self.folder / f"{number:05d}"

    def _stored(self) -> dict[str, Any] | None:
        """The settings of an earlier run; empty for an empty folder; None if there is no folder."""
        if not self.folder.exists():
            return None
        try:
            return read_json(self.folder / SETTINGS)
        except LavieError:
            if self.folder.is_dir() and not any(file.name[0] != "." for file in self.folder.iterdir()):
                return {}
        raise UsageError(f"{self.folder} is in the way: segments of this run would go there, but it is not LaVie's.")
