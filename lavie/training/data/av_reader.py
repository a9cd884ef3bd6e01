"""Reads frames with PyAV, in this process."""

# pyright: reportMissingImports=false
# PyAV is an optional extra; without it, `ffmpeg_reader` is used.

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from ...bounded import MAX_PIXELS
from ...video.ffmpeg import _READABLE
from .clip import UnreadableClip
from .geometry import Geometry
from .timing import Listing

_WITHOUT_TIMES = ("avi", "mpegvideo")


def list_frames(name: str, file: Path | bytes) -> Listing:
    """The times of all frames, from the container alone.

    Raises:
        UnreadableClip: no video, or damaged.
    """
    with _opened(name, file) as (container, stream):
        packets = [packet for packet in container.demux(stream) if packet.size]
        if any(packet.is_corrupt for packet in packets) or len(packets) < stream.frames:
            whole = sum(not packet.is_corrupt for packet in packets)
            raise UnreadableClip(name, f"it is cut off: {whole} of {stream.frames or 'its'} frames are there")
        shown = [packet.pts for packet in packets if not packet.is_discard]
        ticks = {tick for tick in shown if tick is not None}
        counted = len(ticks) < len(shown) or container.format.name in _WITHOUT_TIMES
        unit, rate = stream.time_base, stream.average_rate or 25
    first = next(_frames(name, file), None)
    if first is None or not shown:
        raise UnreadableClip(name, "it has no frames")
    height, width = (first.width, first.height) if first.rotation % 180 else (first.height, first.width)
    if counted:
        count = sum(1 for _ in _frames(name, file))
        return Listing(tuple(range(count)), 1 / Fraction(rate), height, width, counted=True)
    assert unit is not None, "a stream that was read has a unit of time"
    return Listing(tuple(sorted(ticks)), unit, height, width)


def decode_frames(name: str, file: Path | bytes, listing: Listing, frames: list[int], geometry: Geometry) -> np.ndarray:
    """Frames by their place in the listing (ascending), uint8 [frames, height, width, 3].

    Raises:
        UnreadableClip: the file is damaged there.
    """
    wanted = [listing.ticks[frame] for frame in frames]
    if listing.counted:
        found = _shown(enumerate(_frames(name, file)), wanted, geometry)
    else:
        found = _shown(_timed(_frames(name, file, wanted[0])), wanted, geometry)
        if len(found) < len(wanted):  # the index led too far
            found = _shown(_timed(_frames(name, file)), wanted, geometry)
    if len(found) < len(wanted):
        raise UnreadableClip(name, f"it is damaged: {len(found)} of {len(wanted)} frames can be decoded")
    return np.stack(found)


def _shown(frames: Iterator[tuple[int, av.VideoFrame]], wanted: list[int], geometry: Geometry) -> list[np.ndarray]:
    """The image on screen at every wanted tick (ascending); fewer if the frames begin later or end earlier."""
    images: list[np.ndarray] = []
    shown: av.VideoFrame | None = None
    for tick, frame in frames:
        while wanted[len(images)] <= tick:
            on_screen = frame if wanted[len(images)] == tick else shown
            if on_screen is None:
                return images
            images.append(_image(on_screen, geometry))
            if len(images) == len(wanted):
                return images
        shown = frame
    return images


def _timed(frames: Iterator[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
    return ((frame.pts, frame) for frame in frames if frame.pts is not None)


def _frames(name: str, file: Path | bytes, tick: int | None = None) -> Iterator[av.VideoFrame]:
    """The frames from the beginning, or from a key frame at or before `tick`, in the order of their times."""
    with _opened(name, file) as (container, stream):
        if tick is not None:
            container.seek(tick, stream=stream)
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise UnreadableClip(name, f"it is damaged at {frame.time or 0:.2f} s")
            yield frame


def _image(frame: av.VideoFrame, geometry: Geometry) -> np.ndarray:
    return geometry.apply(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))


@contextmanager
def _opened(name: str, file: Path | bytes) -> Iterator[tuple[InputContainer, av.VideoStream]]:
    """The container and its first video stream that is not a cover image; libav's errors become UnreadableClip."""
    # Of these formats and from files only: a text file renamed to .mp4 could name other files to open.
    options = {"format_whitelist": _READABLE, "protocol_whitelist": "file"}
    try:
        with av.open(io.BytesIO(file) if isinstance(file, bytes) else str(file), options=options) as container:
            covers = Disposition.attached_pic
            stream = next((s for s in container.streams.video if not s.disposition & covers), None)
            if stream is None:
                raise UnreadableClip(name, "it has no images, only sound")
            stream.codec_context.thread_count = 1  # there are worker processes
            stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(MAX_PIXELS)}
            yield container, stream
    except (FFmpegError, OSError) as error:
        raise UnreadableClip(name, f"it is damaged or no video ({error.strerror or error})") from error
