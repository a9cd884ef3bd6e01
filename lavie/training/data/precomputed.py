"""Clips that are encoded once and read from a folder: latents, text embeddings and whatever else a stage learns from.

The folder holds shards `00000.safetensors`, … of float16 tensors [rows, …] that are memory mapped on reading, and
`precomputed.json`, which records what they were made from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...atomic import written_whole
from ...bounded import MAX_FPS, either, nothing, pair, parse_json, read_json, real, require_fields, several, whole, word
from ...errors import LavieError, UsageError
from ...tensor_files import read_layout, read_state_dict
from .clip import CROPS, Clip, ClipRequest, UnreadableClip
from .filters import DataReport
from .randomness import draw, generator_of
from .source import ClipSource

NOTE = "precomputed.json"
SHARD_ROWS = 256

Encode = Callable[[list[Clip]], Sequence[dict[str, Tensor]]]


def write_precomputed(
    source: ClipSource,
    request: ClipRequest,
    encode: Encode,
    folder: Path,
    batch: int = 16,
    identity: str = "",
    on_rows: Callable[[int, int], object] | None = None,
) -> DataReport:
    """Encode every row of a source; after a stop, the next call continues after the last whole shard.

    encode: gives the tensors of a clip by name, with the same shapes for every clip. identity: names the networks
    behind `encode` (a checksum of their weights), so that the output of other networks is not reused. on_rows: called
    with
    rows done and rows in all.

    Returns the report; clips that cannot be read are left out and named.

    Raises:
        UsageError: the folder holds what another source, request or network made.
    """
    note = _note(source, request, identity)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / NOTE).exists():
        _require_same(_read_note(folder), note, folder)
    else:
        with written_whole(folder / NOTE) as partial:
            partial.write_text(json.dumps(note, indent=2), "utf-8")
    for number, start in enumerate(range(0, len(source), SHARD_ROWS)):
        rows = range(start, min(start + SHARD_ROWS, len(source)))
        if not _shard(folder, number).exists():
            _write_shard(source, request, encode, _shard(folder, number), rows, batch)
        if on_rows is not None:
            on_rows(rows.stop, len(source))
    return Precomputed(source, folder, identity or None).report


class Precomputed(ClipSource):
    """What `write_precomputed` wrote into a folder, with the captions of its source.

    If text embeddings are stored, the captions are those that were embedded. A request may be shorter than what is
    stored (a random window of frames), slower by a whole factor, and smaller (by its `crop`).

    Raises:
        UsageError: nothing there, incomplete, or made from something else.
    """

    def __init__(self, source: ClipSource, folder: Path, identity: str | None = None, name: str | None = None) -> None:
        self.source, self.folder, self.name = source, folder, name or source.name
        note = _read_note(folder)
        self.request = ClipRequest(**note["request"])
        _require_same(note, _note(source, self.request, note["identity"] if identity is None else identity), folder)
        self.report = DataReport(f"{self.name}, precomputed in {folder}")
        self._rows: list[tuple[int, int, int]] = []  # shard, row in it, row of the source
        for number in range(-(-len(source) // SHARD_ROWS)):
            self._list(number)
        self.report.kept = len(self._rows)
        if not self._rows:
            raise UsageError(f"{folder} holds no clips: none of {source.name} could be read.\n{self.report.text()}")
        self._shards: dict[int, _Shard] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def caption(self, row: int, generator: torch.Generator) -> str:
        shard, index, source_row = self._rows[row]
        tensors = self._open(shard)
        return tensors.captions[index] if "text" in tensors.tensors else self.source.caption(source_row, generator)

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        shard, index, source_row = self._rows[row]
        caption = self.caption(row, generator)
        tensors = {name: stored[index] for name, stored in self._open(shard).tensors.items()}
        if request != self.request:
            part = _requested_part(self, request, tensors, generator)
            tensors = {name: t[_scaled(part, t, self.request)] if t.ndim == 4 else t for name, t in tensors.items()}
        return Clip(caption, f"{self.name}, row {source_row}", {name: t.float() for name, t in tensors.items()})

    def fingerprint(self) -> str:
        return json.dumps([_read_note(self.folder), len(self)], sort_keys=True)

    def _list(self, number: int) -> None:
        file = _shard(self.folder, number)
        if not file.exists():
            done = number * SHARD_ROWS
            raise UsageError(f"{self.folder} is not whole: {done} of {len(self.source)} clips. Precompute once more.")
        described = _described(file, number, self.request)
        self._rows += [(number, index, row) for index, row in enumerate(described["rows"])]
        self.report.broken += [(name, reason) for name, reason in described["skipped"]]

    def _open(self, number: int) -> _Shard:
        if number not in self._shards:
            file = _shard(self.folder, number)
            captions = _described(file, number, self.request)["captions"]
            self._shards[number] = _Shard(read_state_dict(file), captions)
        return self._shards[number]

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_shards": {}}


class _Shard(NamedTuple):
    """Tensors [rows, …] of one file, loaded as they are read, and the captions that were encoded."""

    tensors: dict[str, Tensor]
    captions: list[str]


def _write_shard(source: ClipSource, request: ClipRequest, encode: Encode, file: Path, rows: range, batch: int) -> None:
    from safetensors.torch import save_file

    kept: dict[str, list] = {"rows": [], "captions": [], "skipped": []}
    tensors: dict[str, list[Tensor]] = {}
    for start in range(rows.start, rows.stop, batch):
        clips = list(_readable(source, request, rows[start - rows.start : start - rows.start + batch], kept))
        for encoded in _encoded(encode, clips):
            for name, tensor in encoded.items():
                tensors.setdefault(name, []).append(tensor.detach().to("cpu", torch.float16))
    stacked = {name: _stack(name, parts, len(kept["rows"])) for name, parts in tensors.items()}
    with written_whole(file) as partial:
        save_file(stacked, partial, {name: json.dumps(values) for name, values in kept.items()})


def _readable(source: ClipSource, request: ClipRequest, rows: range, kept: dict[str, list]):
    for row in rows:
        try:
            clip = source.read(row, request, generator_of("precomputed", source.name, row))
        except UnreadableClip as failure:
            kept["skipped"].append((failure.name, failure.reason))
            continue
        kept["rows"].append(row)
        kept["captions"].append(clip.caption)
        yield clip


def _encoded(encode: Encode, clips: list[Clip]) -> Sequence[dict[str, Tensor]]:
    if not clips:
        return ()
    with torch.no_grad():
        encoded = encode(clips)
    if len(encoded) != len(clips):
        raise ValueError(f"encode gave {len(encoded)} results for {len(clips)} clips")
    return encoded


def _stack(name: str, parts: list[Tensor], rows: int) -> Tensor:
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) > 1 or len(parts) != rows:
        raise ValueError(f"'{name}' has to have one shape in every clip: {sorted(shapes)}, {len(parts)} of {rows}")
    return torch.stack(parts)


def _requested_part(
    data: Precomputed, request: ClipRequest, tensors: dict[str, Tensor], generator: torch.Generator
) -> tuple[slice, slice, slice]:
    """Which stored frames, rows and columns of pixels the request gets."""
    stored = data.request
    stride = 1
    if request.fps is not None and stored.fps is not None:
        stride = round(stored.fps / request.fps)
        if stride < 1 or (stride > 1 and abs(stored.fps / request.fps - stride) > 1e-6):
            raise UsageError(
                f"{data.folder} holds {stored.fps:g} frames a second; {request.fps:g} cannot be taken of them."
            )
    room = stored.num_frames - (request.num_frames - 1) * stride - 1
    if room < 0 or request.height > stored.height or request.width > stored.width:
        raise UsageError(f"{data.folder} holds {_form(stored)}; {_form(request)} cannot be taken of it.")
    start = draw(generator, room + 1)
    frames = slice(start, start + (request.num_frames - 1) * stride + 1, stride)
    cell = max(stored.height // t.shape[-2] for t in tensors.values() if t.ndim == 4)
    sides = ((stored.height, request.height), (stored.width, request.width))
    rows, columns = (_side(data, stored, asked, cell, request.crop, generator) for stored, asked in sides)
    return frames, rows, columns


def _side(data: Precomputed, stored: int, asked: int, cell: int, crop: str, generator: torch.Generator) -> slice:
    if asked % cell:
        raise UsageError(f"Windows of {data.folder} are multiples of {cell} pixels, not {asked}.")
    room = (stored - asked) // cell
    start = cell * (room // 2 if crop == "center" else draw(generator, room + 1))
    return slice(start, start + asked)


def _scaled(part: tuple[slice, slice, slice], tensor: Tensor, stored: ClipRequest) -> tuple[slice, ...]:
    """The same part in the units of a tensor [channels, frames, h, w]."""
    frames, rows, columns = part
    scale = stored.height // tensor.shape[-2]
    return slice(None), frames, *(slice(s.start // scale, s.stop // scale) for s in (rows, columns))


def _note(source: ClipSource, request: ClipRequest, identity: str) -> dict:
    return {
        "source": source.name,
        "rows": len(source),
        "fingerprint": source.fingerprint(),
        "identity": identity,
        "request": asdict(request),
        "shard_rows": SHARD_ROWS,
    }


def _require_same(found: dict, wanted: dict, folder: Path) -> None:
    meanings = {
        "rows": "a source of other length",
        "fingerprint": "other files, captions or filters",
        "identity": "other networks",
        "request": "clips of another form",
        "shard_rows": "another version",
    }
    for key, meaning in meanings.items():
        if found.get(key) != wanted[key]:
            raise UsageError(
                f"{folder} was made from {meaning} ({key}: {str(found.get(key))[:200]}, now {str(wanted[key])[:200]}). "
                "Remove that folder or name another one."
            )


def _read_note(folder: Path) -> dict[str, Any]:
    if not (folder / NOTE).exists():
        raise UsageError(f"{folder} holds nothing precomputed: there is no {NOTE}.")
    try:
        note = read_json(folder / NOTE)
        needed = {"request": _is_request, "identity": word()}
        require_fields(dict.fromkeys(needed) | note, needed, str(folder / NOTE))
        return note
    except LavieError as error:
        raise LavieError(f"{folder} is damaged; remove it and precompute once more. ({error})") from error


def _is_request(value: Any) -> bool:
    """Whether a note may hold it as its request: all fields, each within its range."""
    side = whole(1, 1 << 20)
    rules = {"num_frames": side, "height": side, "width": side}
    rules |= {"fps": either(nothing, real(1 / MAX_FPS, MAX_FPS)), "crop": word(*CROPS)}
    return isinstance(value, dict) and value.keys() == rules.keys() and all(rules[name](value[name]) for name in rules)


def _described(file: Path, number: int, request: ClipRequest) -> dict[str, list[Any]]:
    """The rows of a shard, their captions, and what was skipped.

    Raises:
        LavieError: it is damaged, or its tensors are not of these rows.
    """
    rows = several(whole(number * SHARD_ROWS, (number + 1) * SHARD_ROWS - 1), SHARD_ROWS)
    skipped = several(pair(word()), SHARD_ROWS)
    rules = {"rows": rows, "captions": several(word(), SHARD_ROWS), "skipped": skipped}
    try:
        layout = read_layout(file)
        found = {name: parse_json(layout.metadata.get(name, ""), f"'{name}' in {file}", list) for name in rules}
        require_fields({name: values for name, values in found.items() if values}, rules, str(file))
        count = len(found["rows"])
        if len(found["captions"]) != count or not all(_fits(t, count, request) for t in layout.tensors.values()):
            raise LavieError("Its tensors, rows and captions do not belong together.")
        return found
    except LavieError as error:
        raise LavieError(f"{file} is damaged; remove it and precompute once more. ({error})") from error


def _fits(tensor: Tensor, rows: int, request: ClipRequest) -> bool:
    """Whether a stored tensor [rows, …] can be of clips [rows, channels, frames, height, width] of this form."""
    if not tensor.is_floating_point() or not tensor.numel() or len(tensor) != rows:
        return False
    if tensor.ndim != 5:
        return True
    frames, height, width = tensor.shape[2:]
    return frames == request.num_frames and height <= request.height and width <= request.width


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def _form(request: ClipRequest) -> str:
    rate = "" if request.fps is None else f" at {request.fps:g} a second"
    return f"{request.num_frames} frames of {request.height}x{request.width}{rate}"
