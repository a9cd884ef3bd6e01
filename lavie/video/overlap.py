"""Whether a video would replace what it is made from: the one place that compares the two."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import LavieError, UsageError
from ..file_names import identities
from . import sequence
from .target import Target, find_target

_NUMBER = re.compile(r"(\d{1,18})\.\w+$")
PARTS = ".parts"  # after an output's name: the folder of its segments, which are discarded at the end


def refuse_to_replace(output: str | os.PathLike[str], *inputs: str | os.PathLike[str] | None) -> None:
    """Refuse an output that would replace or remove a file that it is made from; inputs: videos, sequences, files.

    Raises:
        UsageError: names the output and the file.
    """
    replaced, parts = {each for file in _replaced(find_target(output)) for each in identities(file)}, parts_of(output)
    if not replaced and not parts.exists():
        return
    for file in (file for source in inputs if source is not None for file in _read(source)):
        if replaced.intersection(identities(file)) or _is_below(file, parts):
            raise UsageError(f"{output} is the input, too: {file} would be replaced. Write to another place.")


def parts_of(output: str | os.PathLike[str]) -> Path:
    """The folder of the output's segments."""
    return Path(os.fspath(output).rstrip("/" + os.sep) + PARTS)


def _replaced(target: Target) -> Iterable[Path]:
    """The files that are replaced or removed when the target is written."""
    if isinstance(target, Path):
        return [target]
    if not target.folder.is_dir():
        return []
    numbers = [found[1] for file in target.folder.iterdir() if (found := _NUMBER.search(file.name))]
    # Where `Frame_1.png` is `frame_1.png`, the listing has one of them only, and the other can be opened as well.
    spelt = [target.folder / f"{target.prefix}{number}{target.suffix}" for number in numbers]
    return [*target.files(), *spelt, *([target.note] if target.whole_folder else [])]


def _read(source: str | os.PathLike[str]) -> Iterable[Path]:
    """The files that an input consists of; whoever reads it says what is wrong with it."""
    try:
        frames = sequence.find(source)
    except LavieError:
        return []
    if frames is None:
        return [Path(source)]
    return [*frames.files(), *([frames.note] if frames.whole_folder else [])]


def _is_below(file: Path, folder: Path) -> bool:
    return Path(os.path.realpath(folder)) in Path(os.path.realpath(file)).parents
