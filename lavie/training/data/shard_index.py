"""What is where in a shard."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...bounded import MAX_MEMBERS, MAX_SAMPLE, parse_json, regular_size
from ...errors import LavieError
from .clip import UnreadableClip
from .decode import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from .entries import caption_text
from .filters import Filters

LARGEST_TEXT = 1 << 20  # bytes; no real caption is longer


@dataclass(frozen=True)
class Sample:
    """A captioned video or image. media: its name in the tar; offset, size: its bytes there."""

    caption: str
    media: str
    suffix: str
    offset: int
    size: int


@dataclass
class Index:
    """The samples of a shard, in order. dropped: (name, reason). damage: what is wrong with the tar itself."""

    samples: list[Sample] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    damage: str | None = None


def index_shard(file: Path, filters: Filters) -> Index:
    """List a tar file; if it is cut off, the samples before that point are kept.

    Raises:
        UnreadableClip: it is missing, empty, or no tar file.
    """
    members: dict[str, dict[str, tarfile.TarInfo]] = {}
    index = Index()
    try:
        regular_size(file)
        with tarfile.open(file, "r:") as tar:
            try:
                _collect(tar, members, regular_size(file))
            except Exception as error:  # damaged headers make tarfile raise anything
                index.damage = f"it is cut off or damaged after {len(members)} samples ({error})"
            for key, parts in members.items():
                _add(index, tar, key, parts, filters)
    except (tarfile.TarError, OSError, ValueError, LavieError) as error:
        raise UnreadableClip(str(file), f"it is no tar file that can be read ({error})") from error
    return index


def _collect(tar: tarfile.TarFile, members: dict[str, dict[str, tarfile.TarInfo]], size: int) -> None:
    """Members by sample and suffix; a sample's name ends at the first dot."""
    for count, member in enumerate(tar):
        if count >= MAX_MEMBERS:
            raise tarfile.ReadError(f"it holds more than {MAX_MEMBERS} files")
        if not member.isreg() or member.issparse():
            continue
        if member.offset_data + member.size > size:
            raise tarfile.ReadError(f"{member.name} is not whole")
        path = PurePosixPath(member.name)
        stem, _, suffix = path.name.partition(".")
        if stem:
            members.setdefault(str(path.parent / stem), {})[f".{suffix.lower()}"] = member
    tar.fileobj.seek(tar.offset)
    end = tar.fileobj.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE or any(end):  # tarfile itself says nothing
        raise tarfile.ReadError("its end is missing")


def _add(index: Index, tar: tarfile.TarFile, key: str, parts: dict[str, tarfile.TarInfo], filters: Filters) -> None:
    suffix = next((suffix for suffix in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES) if suffix in parts), None)
    if suffix is None:
        return index.dropped.append((key, "no video or image"))
    try:
        caption, facts = _described(tar, parts)
    except (ValueError, TypeError, OSError, LavieError):
        return index.dropped.append((key, "caption that cannot be read"))
    if caption is None:
        return index.dropped.append((key, "no .txt or .json with its caption"))
    reason = filters.refusal(caption, None, *facts)
    if reason is None and filters.min_aesthetic is not None and facts[2] is None:
        reason = "no aesthetic score"
    if reason is not None:
        return index.dropped.append((key, reason))
    media = parts[suffix]
    if media.size > MAX_SAMPLE:
        return index.dropped.append((key, "file too large"))
    return index.samples.append(Sample(caption, media.name, suffix, media.offset_data, media.size))


def _described(
    tar: tarfile.TarFile, parts: dict[str, tarfile.TarInfo]
) -> tuple[str | None, tuple[float | None, float | None, float | None]]:
    """The caption (.txt before .json); height, width and aesthetic score if the .json has them."""
    facts = parse_json(_text(tar, parts[".json"]), "It") if ".json" in parts else {}
    caption = _text(tar, parts[".txt"]) if ".txt" in parts else facts.get("caption", facts.get("text"))
    numbers = (facts.get(name) for name in ("height", "width", "aesthetic"))
    caption = None if caption is None else " ".join(str(caption).split())
    height, width, aesthetic = (None if number is None else float(number) for number in numbers)
    return caption, (height, width, aesthetic)


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    if member.size > LARGEST_TEXT:
        raise ValueError("too long")
    file = tar.extractfile(member)
    assert file is not None, "`_collect` takes files alone"
    return caption_text(file.read())
