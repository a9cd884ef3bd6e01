"""Videos and images in files of their own, listed by a folder or a table."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...atomic import written_whole
from ...errors import UsageError
from .clip import Clip, ClipRequest, UnreadableClip
from .decode import image_size, list_frames, read_clip, read_image
from .entries import Entry, digest, fit_entries
from .filters import DataReport, Filters
from .scenes import cut_scenes
from .source import ClipSource

PROBES_AT_ONCE = 4


class Files(ClipSource):
    """Entries that pass the filters, one per row."""

    def __init__(self, name: str, entries: list[Entry], report: DataReport) -> None:
        self.name, self.entries, self.report = name, entries, report

    def __len__(self) -> int:
        return len(self.entries)

    def caption(self, row: int, generator: torch.Generator) -> str:
        return self.entries[row].caption

    def fingerprint(self) -> str:
        return digest(self.entries)


class VideoFiles(Files):
    """Videos, or parts of them.

    probe: open every file at the start, so that broken and short ones get no row; otherwise they are found when they
    are read. cache: a JSON file that remembers what was found, for the next start. cut_scenes: every scene becomes a
    row of its own (PySceneDetect).
    """

    def __init__(
        self,
        name: str,
        entries: list[Entry],
        report: DataReport,
        filters: Filters,
        probe: bool = True,
        cut_scenes: bool = False,
        cache: Path | None = None,
    ) -> None:
        look = _Probe(cut_scenes, cache) if probe or cut_scenes else None
        super().__init__(name, fit_entries(entries, filters, report, probe=look), report)
        self.filters = filters

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        entry = self.entries[row]
        video = read_clip(entry.name, entry.path, request, generator, entry.start, entry.end)
        return Clip(entry.caption, entry.name, {"video": video})


class ImageFiles(Files):
    """Images; `probe` as in `VideoFiles`."""

    def __init__(
        self, name: str, entries: list[Entry], report: DataReport, filters: Filters, probe: bool = True
    ) -> None:
        look = _probe_images if probe else None
        super().__init__(name, fit_entries(entries, filters, report, images=True, probe=look), report)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        require_image(self.name, request)
        entry = self.entries[row]
        return Clip(entry.caption, entry.name, {"video": read_image(entry.name, entry.path, request, generator)})


def require_image(name: str, request: ClipRequest) -> None:
    if request.num_frames != 1:
        raise UsageError(f"{name} holds images; clips of {request.num_frames} frames cannot be read from it.")


class _Probe:
    """Opens videos, several at a time, and remembers what it found in a JSON file."""

    def __init__(self, cut_scenes: bool, cache: Path | None) -> None:
        self.cut_scenes, self.cache = cut_scenes, cache
        self.known: dict[str, dict] = _read_json(cache)

    def __call__(self, entries: list[Entry], filters: Filters, report: DataReport) -> list[Entry]:
        from tqdm import tqdm

        with ThreadPoolExecutor(min(PROBES_AT_ONCE, os.cpu_count() or 1)) as pool:
            found = pool.map(self._facts, entries)
            bar = tqdm(found, report.name, len(entries), delay=5, mininterval=5, unit=" videos")
            facts = list(bar)
        if self.cache is not None:
            with written_whole(self.cache) as partial:
                partial.write_text(json.dumps(self.known), "utf-8")
        kept: list[Entry] = []
        for entry, fact in zip(entries, facts, strict=True):
            if "broken" in fact:
                report.broken.append((entry.name, fact["broken"]))
                continue
            for part in self._parts(entry, fact):
                frames = round((part.end - part.start) * fact["rate"]) if part.end is not None else fact["frames"]
                frames = min(frames, fact["frames"])
                reason = filters.refusal(None, frames, fact["height"], fact["width"])
                if reason is None:
                    kept.append(part)
                else:
                    report.drop(part.name, reason)
        return kept

    def _parts(self, entry: Entry, fact: dict) -> list[Entry]:
        """The entry, or its scenes."""
        if not self.cut_scenes:
            return [entry]
        last = fact["frames"] / fact["rate"] if entry.end is None else entry.end
        scenes = [(max(start, entry.start), min(end, last)) for start, end in fact["scenes"]]
        return [
            replace(entry, start=start, end=end, name=f"{entry.name} ({start:.2f}–{end:.2f} s)")
            for start, end in scenes
            if end > start
        ]

    def _facts(self, entry: Entry) -> dict:
        try:
            state = entry.path.stat()
        except OSError as error:
            return {"broken": f"it cannot be opened ({error.strerror})"}
        key, stamp = str(entry.path), [state.st_size, state.st_mtime_ns]
        fact = self.known.get(key, {})
        if fact.get("stamp") != stamp or (self.cut_scenes and not {"scenes", "broken"} & set(fact)):
            fact = self.known[key] = {"stamp": stamp, **self._look(entry)}
        return fact

    def _look(self, entry: Entry) -> dict:
        try:
            listing = list_frames(entry.name, entry.path)
            size = {"height": listing.height, "width": listing.width}
            facts = {"frames": len(listing.ticks), "rate": listing.rate or 1.0, **size}
            return {**facts, "scenes": cut_scenes(entry.path)} if self.cut_scenes else facts
        except UnreadableClip as failure:
            return {"broken": failure.reason}


def _probe_images(entries: list[Entry], filters: Filters, report: DataReport) -> list[Entry]:
    kept = []
    for entry in entries:
        try:
            height, width = image_size(entry.name, entry.path)
        except UnreadableClip as failure:
            report.broken.append((entry.name, failure.reason))
            continue
        reason = filters.refusal(None, None, height, width)
        if reason is None:
            kept.append(entry)
        else:
            report.drop(entry.name, reason)
    return kept


def _read_json(file: Path | None) -> dict:
    """What is remembered in a file; LaVie's own, so that it may be long."""
    try:
        known = json.loads(file.read_text("utf-8")) if file is not None and file.is_file() else {}
        return {name: fact for name, fact in known.items() if _is_fact(fact)}
    except (ValueError, AttributeError, RecursionError):
        return {}  # only a cache: what it lacks is looked up again


def _is_fact(fact: Any) -> bool:
    return isinstance(fact, dict) and ("broken" in fact or {"frames", "rate", "height", "width"} <= fact.keys())
