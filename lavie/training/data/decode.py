"""Files to tensors: a clip of a video, or an image."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ...errors import UsageError
from ...video.images import opened_image
from .clip import ClipRequest, UnreadableClip
from .geometry import fit
from .timing import Listing, choose_frames

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".gif")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_ORIENTATION = 0x0112  # EXIF


def list_frames(name: str, file: Path | bytes) -> Listing:
    """The frames of a video file (or its content) and their times.

    Raises:
        UnreadableClip: it is missing, empty, damaged, or no video.
    """
    with _file_errors(name, "video"):
        if isinstance(file, bytes):
            return _reader().list_frames(name, file)
        return _list_file(name, file, file_state(name, file))


def read_clip(
    name: str,
    file: Path | bytes,
    request: ClipRequest,
    generator: torch.Generator,
    start: float = 0.0,
    end: float | None = None,
) -> Tensor:
    """A clip of a video, float32 [3, frames, height, width] in −1…1, that begins at a random frame.

    start, end: the part of the video to take it from, in seconds.

    Raises:
        UnreadableClip: the file is broken, too short, too slow, or too small for the request.
    """
    listing = list_frames(name, file)
    with _file_errors(name, "video"):
        frames = choose_frames(name, listing, listing.segment(start, end), request, generator)
        geometry = fit(name, listing.height, listing.width, request, generator)
        return _tensor(_reader().decode_frames(name, file, listing, frames, geometry))


def image_size(name: str, file: Path) -> tuple[int, int]:
    """Height and width of an image as shown, from its header.

    Raises:
        UnreadableClip: it is missing, empty, damaged, or no image.
    """
    with _file_errors(name, "image"), opened_image(file, "it") as image:
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def read_image(name: str, file: Path | bytes, request: ClipRequest, generator: torch.Generator) -> Tensor:
    """An image, float32 [3, 1, height, width] in −1…1.

    Raises:
        UnreadableClip: the file is broken, or too small for the request.
    """
    from PIL import ImageOps

    with _file_errors(name, "image"), opened_image(file, "it") as image:
        pixels = np.array(_rgb(ImageOps.exif_transpose(image)))
    return _tensor(fit(name, pixels.shape[0], pixels.shape[1], request, generator).apply(pixels)[None])


def _tensor(images: np.ndarray) -> Tensor:
    """uint8 [frames, height, width, 3] → float32 [3, frames, height, width] in −1…1."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(3, 0, 1, 2))).float().div_(127.5).sub_(1)


def _rgb(image):
    """Any image as RGB; transparent parts become white, 16 bits are scaled to 8."""
    from PIL import Image

    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


@contextmanager
def _file_errors(name: str, kind: str) -> Iterator[None]:
    """Whatever a damaged file makes the decoders raise is that file's fault alone, and the others go on."""
    try:
        yield
    except (UnreadableClip, UsageError):
        raise
    except Exception as error:
        raise UnreadableClip(name, f"it is damaged or no {kind} ({error})") from error


def file_state(name: str, file: Path) -> tuple[int, int]:
    """Size and modification time, so that a changed file is examined again.

    Raises:
        UnreadableClip: it is missing or empty.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise UnreadableClip(name, f"it cannot be opened ({error.strerror})") from error
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableClip(name, "it is no regular file")
    if found.st_size == 0:
        raise UnreadableClip(name, "it is empty (0 bytes)")
    return found.st_size, found.st_mtime_ns


@lru_cache(maxsize=1024)
def _list_file(name: str, file: Path, _state: tuple[int, int]) -> Listing:
    return _reader().list_frames(name, file)


@cache
def _reader() -> ModuleType:
    """PyAV if it is installed, else ffmpeg as a process, which gives the same frames more slowly."""
    try:
        from . import av_reader
    except ImportError:
        from . import ffmpeg_reader

        return ffmpeg_reader
    return av_reader
