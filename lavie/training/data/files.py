"""Videos and images in files of their own, listed by a folder or a table."""

from __future__ import annotations

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ...atomic import written_whole
from ...bounded import MAX_FPS, MAX_REMEMBERED, either, pair, read_json, real, several, whole, word
from ...errors import LavieError, UsageError
from .clip import Clip, ClipRequest, UnreadableClip
from .decode import image_size, list_frames, read_clip, read_image
from .entries import Entry, digest, fit_entries
from .filters import DataReport, Filters
from .scenes import cut_scenes
from .source import ClipSource

log = logging.getLogger(__name__)

PROBES_AT_ONCE = 4

# What is remembered of a video; `stamp` (its size, when it changed) tells whether it is still so.
_FACTS = {
    "stamp": pair(whole(-(1 << 63), 1 << 63)),
    "broken": word(),
    "frames": whole(1, 1 << 31),
    "rate": real(1 / MAX_FPS, MAX_FPS),
    "height": whole(1, 1 << 20),
    "width": whole(1, 1 << 20),
    "scenes": either(lambda scenes: scenes == [], several(pair(real(0, 1e9)), 1_000_000)),
}


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
        self.known = remembered(cache)

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


def remembered(file: Path | None) -> dict[str, dict[str, Any]]:
    """What is known of videos, by their paths; what a damaged file lacks is looked up again, which the log says."""
    if file is None or not file.exists():
        return {}
    try:
        known = read_json(file, most=MAX_REMEMBERED)
    except LavieError as damage:
        log.warning("%s Its videos are opened once more.", damage)
        return {}
    return {name: fact for name, fact in known.items() if _is_fact(fact)}


def _is_fact(fact: Any) -> bool:
    if not isinstance(fact, dict) or not ("broken" in fact or {"frames", "rate", "height", "width"} <= fact.keys()):
        return False
    return all(rule(fact[name]) for name, rule in _FACTS.items() if name in fact)
