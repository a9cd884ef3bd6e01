"""The input of a run, read once before any work to learn its length and to see that it can be read to its end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...video import iter_video, probe_video
from ..output import StreamedVideo


@dataclass(frozen=True)
class InputVideo(StreamedVideo):
    """digest: of all its frames."""

    digest: str = ""

    @classmethod
    def survey(cls, path: str | os.PathLike[str]) -> InputVideo:
        """Read it once, in constant memory; raises as `read_video`."""
        info = probe_video(path)
        digest = hashlib.blake2b(digest_size=16)
        count = 0
        for frame in iter_video(path):
            digest.update(frame.data)
            count += 1
        return cls(os.fspath(path), count, info.height, info.width, info.fps, info.metadata, digest.hexdigest())

    def frames(self) -> Generator[np.ndarray]:
        return iter_video(self.path)

    def description(self) -> dict[str, Any]:
        """What distinguishes it from other videos, whatever its name."""
        return {"frames": self.num_frames, "height": self.height, "width": self.width, "digest": self.digest}
