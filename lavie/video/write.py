"""Write a video file or a PNG sequence, frame by frame.

Everything is written to a work folder beside the target and moved into place when complete. So a failure, a full disk
or Ctrl-C leaves an older file as it was, and nothing half-written. Meanwhile no other process may write there.
"""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from ..atomic import partial_of, remove
from ..errors import LavieError, UsageError
from .encode import ImageFiles, VideoFile
from .ffmpeg import executable
from .overlap import refuse_to_replace
from .sequence import ImageSequence
from .sound import Sound
from .target import Target, claimed_target, find_target


def write_video(
    path: str | os.PathLike[str],
    frames: np.ndarray,
    fps: float,
    metadata: dict[str, Any] | None = None,
    quality: int = 80,
    sound: Sound | None = None,
) -> None:
    """Write frames uint8 [frames, height, width, 3]; see `VideoWriter`."""
    with VideoWriter(path, fps, metadata, quality, sound) as writer:
        writer.write(frames)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a video can be written there, before any work is done.

    Raises:
        UsageError: unknown kind of file, or its folder is missing or not writable.
        LavieError: a video file is wanted, and there is no ffmpeg; or another process writes it.
    """
    with writing(path):
        pass


@contextmanager
def writing(path: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> Iterator[None]:
    """Be the only process that writes the video at `path` while the block runs: what a command does before any work.

    inputs: what the video is made from, which it must not replace.

    Raises:
        UsageError, LavieError: as `check_writable`; or the video would replace an input.
    """
    target = find_target(path)
    refuse_to_replace(path, *inputs)
    if not isinstance(target, ImageSequence):
        executable()
    with claimed_target(target):
        yield


def check_frame_rate(fps: float | None) -> None:
    """Raise UsageError for a frame rate that no video can have; None: not set."""
    if fps is not None and not (math.isfinite(fps) and 0.01 <= fps <= 1000):
        raise UsageError(f"The frame rate must be between 0.01 and 1000 frames per second, not {fps:g}.")


class VideoWriter:
    """A video file or PNG sequence: `write` adds frames, and it appears at `path` when the block ends without an error.

    path: .mp4, .mov and .mkv (h264) and .webm (vp9), which repeat one row or column of an odd size; .gif (a palette per
        frame); `folder/` or `name_%04d.png` for a PNG sequence.
    fps: frames per second. metadata: stored in the file, see `read_metadata`. quality: 0…100, not of .gif and PNG.
    sound: see `carried_sound`.

    Raises:
        UsageError: as `check_writable`, or an impossible frame rate.
        LavieError: the disk is full, or ffmpeg fails.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: float,
        metadata: dict[str, Any] | None = None,
        quality: int = 80,
        sound: Sound | None = None,
    ) -> None:
        check_frame_rate(fps)
        self._target = find_target(path)
        self._fps, self._metadata, self._quality, self._sound = fps, metadata or {}, quality, sound
        self._encoder: VideoFile | ImageFiles | None = None
        self._shape: tuple[int, ...] | None = None

    def __enter__(self) -> VideoWriter:
        with ExitStack() as stack:
            self._place = stack.enter_context(claimed_target(self._target))
            self._work = partial_of(self._place)
            stack.callback(remove, self._work)
            self._work.mkdir()
            self._claim = stack.pop_all()
        return self

    def write(self, frames: np.ndarray) -> None:
        """Add frames uint8 [frames, height, width, 3], or one [height, width, 3], all of one size."""
        frames = np.asarray(frames)
        frames = frames[None] if frames.ndim == 3 else frames
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise ValueError(f"Frames must be uint8 [frames, height, width, 3], not {frames.dtype} {frames.shape}.")
        self._shape = self._shape or frames.shape[1:]
        if frames.shape[1:] != self._shape:
            raise ValueError(f"All frames of a video must have one size: {frames.shape[1:]} after {self._shape}.")
        try:
            for frame in frames:
                self._encoder = self._encoder or self._begin(frame)
                self._encoder.add(frame)
        except OSError as error:
            raise _failure(self._target, error) from error

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as failed:
            raise _failure(self._target, failed) from failed
        finally:
            with self._claim:
                if self._encoder is not None:
                    self._encoder.close()

    def _begin(self, frame: np.ndarray) -> VideoFile | ImageFiles:
        if isinstance(self._target, ImageSequence):
            return ImageFiles(self._target, self._work, self._place, self._fps, self._metadata)
        return VideoFile(self._target, self._work, frame.shape, self._fps, self._metadata, self._quality, self._sound)

    def _finish(self) -> None:
        if self._encoder is None:
            raise LavieError(f"{self._target} was not written: there is no frame.")
        self._encoder.finish()


def _failure(target: Target, error: OSError) -> LavieError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LavieError(f"{target} was not written: the disk is full.")
    return LavieError(f"{target} was not written: {error.strerror or error}.")
