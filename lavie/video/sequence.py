"""Image sequences: numbered images in a folder, named by the folder (`out/`) or a pattern (`out/frame_%04d.png`).

A single image is a sequence of one frame.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import LavieError, UsageError
from .images import opened_image

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_PATTERN = re.compile(r"(?P<prefix>.*)%(?:0(?P<digits>\d{1,2}))?d(?P<suffix>\.\w+)")
_NUMBERED = re.compile(r"(?P<prefix>.*?)(?P<number>\d{1,18})(?P<suffix>\.(?:png|jpg|jpeg|webp))", re.IGNORECASE)


@dataclass(frozen=True)
class ImageSequence:
    """Images `<prefix><number><suffix>` in a folder. whole_folder: the folder holds nothing else."""

    folder: Path
    prefix: str = "frame_"
    digits: int = 5
    suffix: str = ".png"
    whole_folder: bool = False

    def __str__(self) -> str:
        return str(self.folder if self.whole_folder else self.folder / f"{self.prefix}%0{self.digits}d{self.suffix}")

    def name(self, index: int) -> str:
        return f"{self.prefix}{index:0{self.digits}d}{self.suffix}"

    @property
    def note(self) -> Path:
        """The file that stores frame rate and settings, if the folder holds nothing else."""
        return self.folder / "metadata.json"

    def files(self) -> list[Path]:
        """The existing images, ordered by number."""
        names = re.compile(rf"{re.escape(self.prefix)}(\d{{1,18}}){re.escape(self.suffix)}")
        numbered = [(match, path) for path in self.folder.iterdir() if (match := names.fullmatch(path.name))]
        return [path for _, path in sorted(numbered, key=lambda item: (int(item[0][1]), item[1].name))]


class SingleImage(ImageSequence):
    """One image, which need not have a number."""

    def __str__(self) -> str:
        return str(self.files()[0])

    def files(self) -> list[Path]:
        return [self.folder / f"{self.prefix}{self.suffix}"]


def from_pattern(path: str | os.PathLike[str]) -> ImageSequence | None:
    """The sequence that `name_%04d.png` names, whether or not it exists; None for any other name."""
    folder, name = os.path.split(os.fspath(path))
    match = _PATTERN.fullmatch(name)
    return ImageSequence(Path(folder), match["prefix"], int(match["digits"] or 1), match["suffix"]) if match else None


def find(path: str | os.PathLike[str]) -> ImageSequence | None:
    """The sequence in a folder or of a pattern, or a single image; None if the path is none of these.

    Raises:
        UsageError: no numbered images there, or more than one series of them.
    """
    pattern = from_pattern(path)
    if pattern is not None and not os.path.exists(path):
        if not pattern.folder.is_dir() or not pattern.files():
            raise UsageError(f"There are no images named {path}.")
        return pattern
    folder = Path(path)
    if folder.is_file() and folder.suffix.lower() in IMAGE_SUFFIXES:
        return SingleImage(folder.parent, folder.stem, suffix=folder.suffix)
    if not folder.is_dir():
        return None
    matches = [match for file in sorted(folder.iterdir()) if (match := _NUMBERED.fullmatch(file.name))]
    series = {(match["prefix"], match["suffix"]) for match in matches}
    if not series:
        raise UsageError(f"{folder} is a folder without numbered images (frame_00000.png, …), so it is not a video.")
    if len(series) > 1:
        raise UsageError(f"{folder} holds more than one series of images. Name one, as in {folder}/frame_%05d.png.")
    prefix, suffix = series.pop()
    return ImageSequence(folder, prefix, suffix=suffix, whole_folder=True)


def iter_images(frames: ImageSequence) -> Iterator[np.ndarray]:
    """The images one by one, uint8 [height, width, 3].

    Raises:
        LavieError: an image cannot be read, or its size differs from the first one's.
    """
    shape = None
    for path in frames.files():
        with opened_image(path, str(path)) as image:
            frame = np.array(image.convert("RGB"))
        shape = shape or frame.shape
        if frame.shape != shape:
            sizes = f"{frame.shape[0]}x{frame.shape[1]}, the first is {shape[0]}x{shape[1]}"
            raise LavieError(f"All images of a sequence must have the same size, but {path} is {sizes}.")
        yield frame
