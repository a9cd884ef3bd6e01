"""Reading frames with the ffmpeg that imageio-ffmpeg brings: one process for each file, where PyAV is not installed."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from ...video.ffmpeg import Ffmpeg, ffmpeg_output, input_file
from ...video.read import _BROKEN, _LISTING, _PICTURES
from .clip import UnreadableClip
from .geometry import Geometry
from .timing import Listing


def list_frames(name: str, file: Path | bytes) -> Listing:
    """As `av_reader.list_frames`, but every frame is decoded: ffmpeg tells the times of packets less faithfully."""
    with _on_disk(file) as path:
        times = [*_each_frame_once(), "-enc_time_base", "1:90000", *_LISTING]
        code, output, log = ffmpeg_output([*input_file(path), *_PICTURES, "-xerror", *times])
    header = dict(line[1:].split(": ", 1) for line in output.splitlines() if line.startswith("#"))
    ticks = [int(line.split(",")[2]) for line in output.splitlines() if not line.startswith("#")]
    if not ticks:
        sound = "matches no streams" in log
        raise UnreadableClip(name, "it has no pictures, only sound" if sound else "it is damaged or no video")
    if code or any(words in log for words in _BROKEN):
        raise UnreadableClip(name, f"it is cut off or damaged: only {len(ticks)} of its frames can be decoded")
    width, height = map(int, header["dimensions 0"].split("x"))
    return Listing(tuple(sorted(ticks)), Fraction(header["tb 0"]), height, width)


def decode_frames(name: str, file: Path | bytes, listing: Listing, frames: list[int], geometry: Geometry) -> np.ndarray:
    """As `av_reader.decode_frames`."""
    first, count = frames[0], frames[-1] - frames[0] + 1
    (height, width), (rows, columns) = geometry.scaled, (geometry.height, geometry.width)
    picture = f"scale={width}:{height}:flags=bicubic,crop={columns}:{rows}:{geometry.left}:{geometry.top}:exact=1"
    raw = ["-vf", picture, *_each_frame_once(), "-frames:v", str(count), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    with _on_disk(file) as path:
        source = [*_seek(listing, first), *input_file(path), *_PICTURES, "-xerror"]
        with Ffmpeg([*source, *raw], stdout=subprocess.PIPE) as run:
            content = run.process.stdout.read()
            code, log = run.finish()
    whole = len(content) // (rows * columns * 3)
    if code or whole < count or any(words in log for words in _BROKEN):
        raise UnreadableClip(name, f"it is damaged: {whole} of {count} frames can be decoded")
    pictures = np.frombuffer(content, np.uint8).reshape(count, rows, columns, 3)
    return pictures[[frame - first for frame in frames]]


@cache
def _each_frame_once() -> list[str]:
    """The option, in ffmpeg's spelling of the day, against repeating and dropping frames to make a rate even."""
    _, version, _ = ffmpeg_output(["-version"])
    old = re.match(r"ffmpeg version n?([0-5])\.", version)
    return ["-vsync", "0"] if old else ["-fps_mode", "passthrough"]


def _seek(listing: Listing, frame: int) -> list[str]:
    """Arguments that make `frame` the first one: a time halfway from the frame before."""
    if frame == 0:
        return []
    between = Fraction(listing.ticks[frame - 1] + listing.ticks[frame], 2) * listing.unit
    return ["-ss", f"{float(between):.6f}"]


@contextmanager
def _on_disk(file: Path | bytes) -> Iterator[Path]:
    if isinstance(file, Path):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="lavie-") as folder:
        path = Path(folder) / "video"
        path.write_bytes(file)
        yield path
