"""WebDataset shards: tar files in which the files of one sample share a name and follow one another.

A sample is a video or an image (`000.mp4`) with a caption (`000.txt`, or `000.json` with "caption" or "text", and
perhaps "width", "height", "aesthetic"). Members are read in place, in any order.
"""

from __future__ import annotations

import glob
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from http.client import HTTPException
from itertools import product
from pathlib import Path
from typing import TypeVar

import torch

from ...bounded import MAX_MEMBERS, MAX_TEXT, parse_json, require_fields, whole
from ...errors import LavieError, UsageError
from .clip import Clip, ClipRequest, UnreadableClip
from .decode import IMAGE_SUFFIXES, VIDEO_SUFFIXES, file_state, list_frames, read_clip, read_image
from .files import require_image
from .filters import DataReport, Filters
from .randomness import generator_of
from .shard_cache import MAX_BYTES, ShardCache
from .shard_index import Index, Sample, index_shard
from .source import ClipSource

SIZES = "sizes.json"
SHARDS_AT_ONCE = 4
ATTEMPTS = 8
MOST_SHARDS = 100_000

T = TypeVar("T")


class Shards(ClipSource):
    """The samples of local tar files or http(s) addresses.

    pattern: a path or address; `{0000..0041}` and `{a,b}` name several, and local ones may hold `*`. cache: folder
    for downloaded shards, of at most `cache_bytes`.

    A pass reads the shards in random order and mixes the samples of four shards at a time, so that each shard is
    downloaded once per pass. To count the samples, every shard is listed (and downloaded) at the start, unless a file
    `sizes.json` lies beside them ({"train-0000.tar": 1000, …}). A shard that is cut off is named in the report and used
    as far as it goes.

    Raises:
        UsageError: no shard, or no usable sample in them.
    """

    def __init__(
        self,
        pattern: str,
        filters: Filters = Filters(),  # noqa: B008 (frozen)
        cache: Path | None = None,
        cache_bytes: int = MAX_BYTES,
        name: str | None = None,
    ) -> None:
        self.name, self.filters = name or pattern, filters
        self.report = DataReport(self.name)
        self.shards = expand(pattern)
        self.cache = None
        if any(map(is_address, self.shards)):
            if cache is None:
                raise UsageError(f"{pattern} is downloaded piece by piece: name a folder for that.")
            self.cache = ShardCache(cache, cache_bytes)
        self._indices: dict[str, Index] = {}
        self.counts = self._counts()
        self._ends = torch.tensor(self.counts).cumsum(0).tolist()
        self.report.kept = self._ends[-1]
        if not self.report.kept:
            raise UsageError(f"No samples are left to train on.\n{self.report.text()}")

    def __len__(self) -> int:
        return self._ends[-1]

    def caption(self, row: int, generator: torch.Generator) -> str:
        return self._sample(row).caption

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        sample = self._sample(row)
        shard = self.shards[self._place(row)[0]]
        name = f"{shard}, {sample.media}"
        content = self._content(shard, sample)
        if sample.suffix in VIDEO_SUFFIXES:
            frames = len(list_frames(name, content).ticks)
            if frames < self.filters.min_frames:
                raise UnreadableClip(name, f"fewer than {self.filters.min_frames} frames")
            video = read_clip(name, content, request, generator)
        else:
            require_image(self.name, request)
            video = read_image(name, content, request, generator)
        return Clip(sample.caption, name, {"video": video})

    def order(self, *path: int | str) -> torch.Tensor:
        """Shards in random order, with the samples of a few consecutive ones mixed."""
        generator = generator_of(*path)
        starts = [0, *self._ends]
        shards = torch.randperm(len(self.shards), generator=generator)
        passes = []
        for group in shards.split(SHARDS_AT_ONCE):
            rows = torch.cat([torch.arange(starts[s], starts[s + 1]) for s in group.tolist()])
            passes.append(rows[torch.randperm(len(rows), generator=generator)])
        return torch.cat(passes)

    def fingerprint(self) -> str:
        return json.dumps([self.shards, self.counts, self.filters.fingerprint()])

    def holds_images(self) -> bool:
        """Whether the first readable sample is an image."""
        return self._sample(0).suffix in IMAGE_SUFFIXES

    def _counts(self) -> list[int]:
        """Samples in every shard: those that pass the filters, or what `sizes.json` says."""
        sizes = _sizes(self.shards[0]) if is_address(self.shards[0]) else {}
        names = [shard.rsplit("/", 1)[-1] for shard in self.shards]
        if sizes and set(names) <= set(sizes):
            self.report.notes.append(f"counted by {SIZES}; samples are judged as they are read")
            return [sizes[name] for name in names]
        return [self._listed(shard) for shard in self.shards]

    def _listed(self, shard: str) -> int:
        try:
            index = self._index(shard)
        except UnreadableClip as failure:
            self.report.broken.append((shard, failure.reason))
            return 0
        for name, reason in index.dropped:
            self.report.drop(f"{shard}, {name}", reason)
        if index.damage is not None:
            self.report.broken.append((shard, index.damage))
        return len(index.samples)

    def _place(self, row: int) -> tuple[int, int]:
        shard = int(torch.searchsorted(torch.tensor(self._ends), row, right=True))
        return shard, row - (self._ends[shard - 1] if shard else 0)

    def _sample(self, row: int) -> Sample:
        shard, place = self._place(row)
        samples = self._index(self.shards[shard]).samples
        if place >= len(samples):
            raise UnreadableClip(f"{self.shards[shard]}, sample {place}", f"only {len(samples)} of its samples are fit")
        return samples[place]

    def _index(self, shard: str) -> Index:
        if not is_address(shard):
            return _indexed(Path(shard), self.filters, file_state(shard, Path(shard)))
        if shard not in self._indices:  # a download does not change, even if its file is removed and fetched again
            self._indices[shard] = self._read(shard, lambda file: index_shard(file, self.filters))
        return self._indices[shard]

    def _content(self, shard: str, sample: Sample) -> bytes:
        def read(file: Path) -> bytes:
            with file.open("rb") as tar:
                tar.seek(sample.offset)
                return tar.read(sample.size)

        return self._read(shard, read)

    def _read(self, shard: str, read: Callable[[Path], T]) -> T:
        """Read from a shard's file, which another process may remove at any moment to make room in the cache."""
        for attempt in range(ATTEMPTS if is_address(shard) else 1):
            time.sleep(0.05 * attempt)
            file = self._file(shard)
            try:
                return read(file)
            except (FileNotFoundError, UnreadableClip):
                if file.exists():
                    raise
        reason = "it vanishes: the cache is too small for as many processes" if is_address(shard) else "it is gone"
        raise UnreadableClip(shard, reason)

    def _file(self, shard: str) -> Path:
        return self.cache.get(shard) if self.cache is not None and is_address(shard) else Path(shard)


def is_address(shard: str) -> bool:
    return shard.startswith(("http://", "https://"))


def expand(pattern: str) -> list[str]:
    """All names of a pattern: braces first, then `*` among local files.

    Raises:
        UsageError: a local one matches nothing, or an address holds `*`.
    """
    names = []
    for name in _braces(pattern):
        if is_address(name):
            names.append(name)
            continue
        found = [name] if Path(name).is_file() else sorted(glob.glob(name, recursive=True))
        if not found:
            raise UsageError(f"There is no shard {name}.")
        names += found
    return names


def _braces(pattern: str) -> list[str]:
    parts = re.split(r"\{([^{}]*)\}", pattern)
    options = [_options(part) if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(choice) for choice in product(*options)]


def _options(inside: str) -> list[str]:
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if numbers is None:
        return inside.split(",")
    first, last = numbers.groups()
    if len(last) > 6 or int(last) - int(first) > MOST_SHARDS:
        raise UsageError(f"'{{{inside}}}' names more shards than there can be.")
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]


def _sizes(address: str) -> dict[str, int]:
    """The content of `sizes.json` beside an address; empty if there is none."""
    try:
        url = f"{address.rsplit('/', 1)[0]}/{SIZES}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # nosec B310
            text = answer.read(MAX_TEXT + 1).decode("utf-8", "replace")
        sizes = parse_json(text, url)
        require_fields(sizes, dict.fromkeys(sizes, whole(0, MAX_MEMBERS)), url)
        return sizes
    except (HTTPException, OSError, ValueError, LavieError):
        return {}


@lru_cache(maxsize=16)
def _indexed(file: Path, filters: Filters, _state: tuple[int, int]) -> Index:
    return index_shard(file, filters)
