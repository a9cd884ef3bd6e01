"""Reads files from strangers: regular files of a plausible size, JSON without surprises, fields within their ranges.

All limits on such files are here. Real files stay far below them.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import LavieError

MAX_TEXT = 4 << 20  # bytes of a text; the vocabulary of CLIP's tokenizer has 1 MB
MAX_REMEMBERED = 256 << 20  # bytes of what LaVie itself wrote down of a data set or run: a million videos or lines
MAX_DEPTH = 64  # brackets within brackets, in JSON
MAX_DIGITS = 20  # of a whole number in JSON; a seed has 20
MAX_HEADER = 8 << 20  # bytes that describe the tensors of a file; those of the released UNets have 0.2 MB
MAX_TENSORS = 20_000  # in a file; Stable Diffusion XL has 2,600
MAX_NAME = 500  # characters of a tensor's name
MAX_DIMENSIONS = 8  # of a tensor
MAX_SHARED = 4  # how many times its size a file's tensors may have together, where they share their numbers
MAX_INSTRUCTIONS = 1_000_000  # of a pickle; a released UNet's has 30,000
MAX_PIXELS = 1 << 26  # of an image or frame: 8192×8192
MAX_ALLOCATION = 1 << 29  # bytes that ffmpeg may ask for at once; a frame of MAX_PIXELS has 200 MB
MAX_OUTPUT = 64 << 20  # bytes that ffmpeg may print about a video: a line for each of a million frames
MAX_FPS = 1_000_000.0
MAX_RANK = 4096  # of a LoRA
MAX_PATTERNS = 64  # with wildcards, in a LoRA's config
MAX_MEMBERS = 1_000_000  # of a tar file
MAX_SHARD = 64 << 30  # bytes of a tar file from the net
MAX_SAMPLE = 2 << 30  # bytes of a video or image in a tar file

Rule = Callable[[Any], bool]


def regular_size(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        LavieError: it is missing, or no regular file: a folder, a device, or a pipe, on which reading would wait.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise LavieError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not stat.S_ISREG(found.st_mode):
        raise LavieError(f"{path} is {'a folder' if stat.S_ISDIR(found.st_mode) else 'no regular file'}.")
    return found.st_size


def read_bytes(path: Path, most: int = MAX_TEXT) -> bytes:
    """A whole file of at most `most` bytes.

    Raises:
        LavieError: it is missing, no regular file, larger, or may not be read.
    """
    size = regular_size(path)
    if size > most:
        raise LavieError(f"{path} has {size} bytes; {most} are the most that LaVie reads of such a file.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise LavieError(f"{path} cannot be read: {error.strerror or error}.") from error


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """A text file in UTF-8, with or without a byte order mark; raises as `read_bytes`, and for another encoding."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LavieError(f"{path} cannot be read: it is no text in UTF-8 ({error.reason}).") from error


def read_json(path: Path, kind: type = dict, most: int = MAX_TEXT) -> Any:
    """A JSON file that holds an object or, with `kind`, a list; raises as `read_text` and `parse_json`."""
    return parse_json(read_text(path, most), str(path), kind, most)


def parse_json(text: str, where: str, kind: type = dict, most: int = MAX_TEXT) -> Any:
    """JSON that holds an object or, with `kind`, a list.

    Raises:
        LavieError: it is no JSON, of another kind, too long, too deep, or has numbers that no setting has. `where`
            begins the sentence.
    """
    try:
        if len(text) > most:
            raise ValueError("it is too long")
        value = json.loads(text, parse_int=_whole, parse_float=_real, parse_constant=_no_number)
        if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
            raise ValueError("it is too deep")
    except RecursionError:
        raise LavieError(f"{where} cannot be read as JSON: it is too deep.") from None
    except ValueError as error:
        raise LavieError(f"{where} cannot be read as JSON: {error}.") from error
    if not isinstance(value, kind):
        raise LavieError(f"{where} cannot be read: it holds no JSON {'list' if kind is list else 'object'}.")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _depth(value: Any) -> int:
    """How many brackets are within one another; it stops counting beyond the bound."""
    layer, depth = [value], 0
    while layer and depth <= MAX_DEPTH:
        layer = [each for each in layer if isinstance(each, dict | list)]
        depth += bool(layer)
        layer = [inner for each in layer for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def require_fields(config: Mapping[str, Any], rules: Mapping[str, Rule], what: str) -> None:
    """Refuse a config in which a field has a value that it may not have; missing fields pass.

    Raises:
        LavieError: names the first such field; `what` begins the sentence.
    """
    for name, rule in rules.items():
        if name in config and not rule(config[name]):
            raise LavieError(f"{what}: {name} cannot be {str(config[name])[:60]}.")


# Rules for `require_fields`: what a field may hold. Bounds are included; `several` takes 1 to `most` values.


def whole(low: int, high: int) -> Rule:
    return lambda value: type(value) is int and low <= value <= high


def real(low: float, high: float) -> Rule:
    return lambda value: type(value) in (int, float) and low <= value <= high


def flag(value: Any) -> bool:
    return type(value) is bool


def word(*words: str) -> Rule:
    return lambda value: isinstance(value, str) and (not words or value in words)


def several(rule: Rule, most: int) -> Rule:
    return lambda value: isinstance(value, list | tuple) and 1 <= len(value) <= most and all(map(rule, value))


def pair(rule: Rule) -> Rule:
    return lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(rule, value))


def either(*rules: Rule) -> Rule:
    return lambda value: any(rule(value) for rule in rules)


def nothing(value: Any) -> bool:
    return value is None
