"""Read videos and image sequences, completely or frame by frame."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Generator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..bounded import MAX_FPS, MAX_PIXELS
from ..errors import LavieError, UsageError
from . import sequence
from .ffmpeg import Ffmpeg, ffmpeg_output, input_file
from .metadata import read_metadata, sequence_note

SEQUENCE_FPS = 8.0  # for an image sequence that gives no rate: LaVie's own
# The first video stream that is not a cover image, rotated as players show it.
_IMAGES = ["-map", "0:V:0"]
_LISTING = ["-f", "framecrc", "-"]  # one line of times and checksum per frame
# What ffmpeg says about a truncated file, even if its exit code is 0.
_BROKEN = ("partial file", "ended prematurely", "decode failed", "Truncat")


@dataclass(frozen=True)
class VideoInfo:
    """Size in pixels, frames per second, and the settings that LaVie stored (empty for other videos)."""

    height: int
    width: int
    fps: float
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoClip:
    """frames: uint8 [frames, height, width, 3]; fps: frames per second; metadata: the settings stored in the file."""

    frames: np.ndarray
    fps: float
    metadata: dict[str, Any] = field(default_factory=dict)


def read_video(path: str | os.PathLike[str], max_frames: int | None = None) -> VideoClip:
    """A whole video (mp4, webm, mov, gif, …) or image sequence (a folder, or `name_%04d.png`), or its beginning.

    A single image (png, jpg, webp) is a video of one frame.

    Raises:
        UsageError: the file is missing, empty, or not a video.
        LavieError: the file is damaged.
    """
    info = probe_video(path)
    frames = list(iter_video(path, max_frames))
    if not frames:
        raise LavieError(f"{path} has no frame that can be decoded.")
    return VideoClip(np.stack(frames), info.fps, info.metadata)


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """What `read_video` would give, without the frames; raises the same."""
    frames = sequence.find(path)
    if frames is None:
        return _probe_file(_existing_file(path))
    note = sequence_note(frames)
    height, width, _ = next(sequence.iter_images(frames)).shape
    return VideoInfo(height, width, note.fps or SEQUENCE_FPS, note.metadata)


def iter_video(path: str | os.PathLike[str], max_frames: int | None = None) -> Generator[np.ndarray]:
    """Frames uint8 [height, width, 3] one at a time, in constant memory; raises as `read_video`, while iterating."""
    frames = sequence.find(path)
    images = _iter_file(_existing_file(path)) if frames is None else sequence.iter_images(frames)
    yield from islice(images, max_frames)


def count_frames(path: str | os.PathLike[str]) -> int:
    """The number of frames of a video or sequence, without decoding them."""
    frames = sequence.find(path)
    if frames is not None:
        return len(frames.files())
    _, output, _ = ffmpeg_output([*input_file(_existing_file(path)), *_IMAGES, "-c", "copy", *_LISTING])
    return sum(not line.startswith("#") for line in output.splitlines())


def _existing_file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.exists():
        raise UsageError(f"{path} does not exist.")
    if not path.is_file():
        raise UsageError(f"{path} is not a file.")
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty (0 bytes).")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} may not be read: its permissions forbid it.")
    return path


def _probe_file(path: Path) -> VideoInfo:
    """Decodes the first frame: its size as shown, and the frame rate that ffmpeg would deliver."""
    _, output, log = ffmpeg_output([*input_file(path), *_IMAGES, "-frames:v", "1", *_LISTING])
    header = dict(line[1:].split(": ", 1) for line in output.splitlines() if line.startswith("#") and ": " in line)
    if "dimensions 0" not in header:
        raise _unreadable(path, log)
    width, height = map(int, header["dimensions 0"].split("x"))
    unit = Fraction(header["tb 0"])
    fps = float(_frame_rate(path, 1 / unit)) if unit > 0 else 0.0
    if not 0 < fps <= MAX_FPS or not 0 < width * height <= MAX_PIXELS:
        raise LavieError(f"{path} cannot be used: {width}×{height} pixels at {fps:g} frames per second.")
    return VideoInfo(height, width, fps, read_metadata(path))


def _frame_rate(path: Path, guess: Fraction) -> Fraction:
    """ffmpeg's guess, or the mean rate if that is far lower: short GIFs, recordings with uneven times."""
    _, output, _ = ffmpeg_output([*input_file(path), *_IMAGES, "-c", "copy", "-frames:v", "240", *_LISTING])
    lines = output.splitlines()
    unit = next((Fraction(line.split(": ")[1]) for line in lines if line.startswith("#tb")), Fraction(0))
    times = [line.split(",")[1:4] for line in lines if not line.startswith("#")]
    starts = [int(decoding_time) for decoding_time, _, _ in times]
    ends = [int(decoding_time) + int(duration) for decoding_time, _, duration in times]
    seconds = (max(ends, default=0) - min(starts, default=0)) * unit
    mean = len(times) / seconds if seconds > 0 else guess
    return guess if guess < 2.5 * mean else mean


def _unreadable(path: Path, log: str) -> UsageError:
    if "matches no streams" in log:
        return UsageError(f"{path} has no frames, only sound.")
    return UsageError(f"{path} cannot be read: it is damaged or no video (mp4, webm, mov, gif, mkv, avi, …).")


def _iter_file(path: Path) -> Generator[np.ndarray]:
    info = _probe_file(path)
    count = 0
    rate = str(Fraction(info.fps).limit_denominator(1001))
    raw = [*_IMAGES, "-xerror", "-r", rate, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    with Ffmpeg([*input_file(path), *raw], stdout=subprocess.PIPE, bufsize=1 << 20) as run:
        while (frame := _next_frame(run.output, info)) is not None:
            count += 1
            yield frame
        code, log = run.finish()
    if code != 0 or any(words in log for words in _BROKEN):
        raise LavieError(f"{path} is damaged or cut off: only its first {count} frames can be read.")


def _next_frame(stream: Any, info: VideoInfo) -> np.ndarray | None:
    frame = np.empty((info.height, info.width, 3), np.uint8)
    return frame if stream.readinto(frame.data.cast("B")) == frame.nbytes else None
