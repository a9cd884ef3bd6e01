"""Prompt, seed and settings stored in the file they made: JSON in the comment field of videos, GIFs and PNGs.

The JSON is pure ASCII, so any prompt survives in every container.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bounded import MAX_FPS, parse_json, read_text, real, regular_size
from ..errors import LavieError
from . import sequence
from .ffmpeg import ffmpeg_output, input_file
from .images import opened_image

PNG_KEY = "Comment"


def to_json(metadata: dict[str, Any]) -> str:
    """Pure ASCII on one line; numpy scalars become numbers, other unknown values their text."""
    return json.dumps(metadata, default=lambda value: value.item() if hasattr(value, "item") else str(value))


def from_json(text: str) -> dict[str, Any]:
    """The settings; empty if the comment is not a JSON object, such as another program's."""
    try:
        return parse_json(text, "The comment")
    except LavieError:
        return {}


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The settings stored in a video, a GIF, a PNG or a PNG sequence; empty if there are none."""
    found = sequence.find(path)
    if found is not None:
        return sequence_note(found).metadata
    path = Path(path)
    regular_size(path)
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith((b"GIF8", b"\x89PNG")):
        return from_json(_image_comment(path))
    code, output, _ = ffmpeg_output([*input_file(path), "-f", "ffmetadata", "-"])
    return from_json(_file_comment(output)) if code == 0 else {}


@dataclass(frozen=True)
class Note:
    """What an image sequence says about itself. fps: None if it gives none, or an impossible one."""

    fps: float | None
    metadata: dict[str, Any]


def sequence_note(frames: sequence.ImageSequence) -> Note:
    """The note of an image sequence: from its note file, else from inside its first frame."""
    beside = frames.whole_folder and frames.note.is_file()
    found = from_json(_text_of(frames.note) if beside else _image_comment(frames.files()[0]))
    fps, metadata = found.get("fps"), found.get("metadata")
    known = fps if isinstance(fps, int | float) and real(1e-6, MAX_FPS)(fps) else None
    return Note(known, metadata if isinstance(metadata, dict) else {})


def _text_of(note: Path) -> str:
    try:
        return read_text(note)
    except LavieError:
        return ""  # another program's


def ffmetadata(comment: str) -> str:
    """A metadata file for ffmpeg with one comment."""
    return ";FFMETADATA1\ncomment=" + re.sub(r"([=;#\\\n])", r"\\\1", comment) + "\n"


def copy_with_gif_comment(gif: Path, target: Path, comment: str) -> None:
    """A copy of a GIF file with a comment block after its header and palette, in constant memory."""
    text = comment.encode("ascii")
    parts = [text[start : start + 255] for start in range(0, len(text), 255)]
    block = b"\x21\xfe" + b"".join(bytes([len(part)]) + part for part in parts) + b"\x00"
    with gif.open("rb") as source, target.open("wb") as copy:
        head = source.read(13)
        flags = head[10]
        copy.write(head + source.read(3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0) + block)
        shutil.copyfileobj(source, copy)


def _file_comment(ffmetadata_text: str) -> str:
    match = re.search(r"^comment=((?:\\.|[^\\\n])*)", ffmetadata_text, re.IGNORECASE | re.MULTILINE | re.DOTALL)
    return re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL) if match else ""


def _image_comment(path: Path) -> str:
    try:
        with opened_image(path, str(path)) as image:
            comment = image.info.get(PNG_KEY) or image.info.get("comment") or ""
    except LavieError:
        return ""
    return comment.decode(errors="replace") if isinstance(comment, bytes) else str(comment)
