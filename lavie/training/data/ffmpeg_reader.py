"""Reads frames with imageio-ffmpeg's ffmpeg, one process per file, if PyAV is not installed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import cast

import numpy as np

from ...atomic import temporary_folder
from ...video.ffmpeg import Ffmpeg, ffmpeg_output, input_file
from ...video.read import _BROKEN, _IMAGES, _LISTING
from .clip import UnreadableClip
from .geometry import Geometry
from .timing import Listing


def list_frames(name: str, file: Path | bytes) -> Listing:
    """As `av_reader.list_frames`, but every frame is decoded: ffmpeg tells the times of packets less faithfully."""
    with _on_disk(file) as path:
        times = [*_each_frame_once(), "-enc_time_base", "1:90000", *_LISTING]
        code, output, log = ffmpeg_output([*input_file(path), *_IMAGES, "-xerror", *times])
    header = dict(line[1:].split(": ", 1) for line in output.splitlines() if line.startswith("#"))
    ticks = [int(line.split(",")[2]) for line in output.splitlines() if not line.startswith("#")]
    if code < 0:
        raise UnreadableClip(name, f"ffmpeg itself crashes on it (signal {-code}); a newer one may read it")
    if code < 0:
        raise UnreadableClip(name, f"ffmpeg itself crashes on it (signal {-code}); a newer one may read it")
    if not ticks:
        sound = "matches no streams" in log
        raise UnreadableClip(name, "it has no images, only sound" if sound else "it is damaged or no video")
    if code or any(words in log for words in _BROKEN):
        raise UnreadableClip(name, f"it is cut off or damaged: only {len(ticks)} of its frames can be decoded")
    width, height = map(int, header["dimensions 0"].split("x"))
    return Listing(tuple(sorted(ticks)), Fraction(header["tb 0"]), height, width)


def decode_frames(name: str, file: Path | bytes, listing: Listing, frames: list[int], geometry: Geometry) -> np.ndarray:
    """As `av_reader.decode_frames`."""
    with _on_disk(file) as path:
        found = _decoded(path, listing, frames[0], frames, geometry)
        if len(found) < len(frames):  # the index led too far
            found = _decoded(path, listing, 0, frames, geometry)
    if len(found) < len(frames):
        raise UnreadableClip(name, f"it is damaged: {len(found)} of {len(frames)} frames can be decoded")
    return np.stack(found)


def _decoded(path: Path, listing: Listing, first: int, frames: list[int], geometry: Geometry) -> list[np.ndarray]:
    """The images of the frames (ascending), decoded from the frame `first` on; fewer if there is an error."""
    count = ["-frames:v", str(frames[-1] - first + 1)]
    raw = [*_each_frame_once(), *count, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    source = [*_seek(listing, first), *input_file(path), *_IMAGES, "-xerror"]
    images: list[np.ndarray] = []
    with Ffmpeg([*source, *raw], stdout=subprocess.PIPE, bufsize=1 << 20) as run:
        output = cast("BufferedReader", run.output)
        for place in range(first, frames[-1] + 1):
            image = np.empty((listing.height, listing.width, 3), np.uint8)
            if output.readinto(image.data.cast("B")) < image.nbytes:
                break
            if place in frames:
                images += [geometry.apply(image)] * frames.count(place)
        code, log = run.finish()
    return [] if code or any(words in log for words in _BROKEN) else images


@cache
def _each_frame_once() -> list[str]:
    """The option that stops ffmpeg from repeating and dropping frames to even out a rate; its name depends on the
    version."""
    _, version, _ = ffmpeg_output(["-version"])
    old = re.match(r"ffmpeg version n?([0-5])\.", version)
    return ["-vsync", "0"] if old else ["-fps_mode", "passthrough"]


def _seek(listing: Listing, frame: int) -> list[str]:
    """Arguments that make `frame` the first one: they seek to halfway between it and the frame before."""
    if frame == 0:
        return []
    between = Fraction(listing.ticks[frame - 1] + listing.ticks[frame], 2) * listing.unit
    return ["-ss", f"{float(between):.6f}"]


@contextmanager
def _on_disk(file: Path | bytes) -> Iterator[Path]:
    if isinstance(file, Path):
        yield file
        return
    with temporary_folder() as folder:
        path = folder / "video"
        path.write_bytes(file)
        yield path
