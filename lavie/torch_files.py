"""Reads what torch.save wrote, by LaVie's own interpreter of pickles: nothing in such a file can run.

Either a zip archive (data.pkl, and a file of numbers for each storage), or the older form: pickles and then the numbers
one after another. Tensors stay on disk, mapped into memory, and are checked against the size of their storage.
"""

from __future__ import annotations

import io
import math
import mmap
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .bounded import MAX_DIMENSIONS, MAX_HEADER
from .errors import LavieError
from .pickles import Made, Named, Outside, Refused, read_pickle

DTYPES = {  # that LaVie reads, by the names that safetensors has for them
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_STORAGES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "Float8_e4m3fn": torch.float8_e4m3fn,
    "Float8_e5m2": torch.float8_e5m2,
}
_TENSORS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
# The functions and classes that torch.save's files name, also for numpy's numbers and a program's arguments. None of
# them could be made to run code, even if it were called.
_HARMLESS = re.compile(
    r"collections\.(OrderedDict|defaultdict|Counter|deque)|argparse\.Namespace|pathlib\.(Pure)?(Posix|Windows)?Path"
    r"|(builtins|__builtin__)\.(set|frozenset|complex|slice|bytearray|list|dict|tuple|int|float)|_codecs\.encode"
    r"|torch\.(Size|device|Tensor|per_\w+_affine|nn\.parameter\.Parameter|serialization\._get_layout|_utils\._rebuild_\w+)"
    r"|torch\._tensor\._rebuild_from_type(_v2)?|torch\.(storage\.)?\w*Storage|torch\.b?(float|int|uint|complex|bool)\w*"
    r"|numpy\.(ndarray|dtype|dtypes\.\w+DType)|numpy\._?core\.multiarray\.(_reconstruct|scalar)"
    r"|torch\.distributed\.checkpoint\.(metadata|filesystem)\._?[A-Z]\w*"
)
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_PICKLES = 5  # in the older form: the magic number, version, computer, content, keys of the storages

Places = dict[str, tuple[int, int]]  # start and size in bytes, by name


class TorchFile:
    """A file of torch.save, opened. content: what was saved, with notes in place of tensors, which `tensor` reads."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            LavieError: it is a program, or another kind of archive.
            lavie.pickles.Refused: it names what may run code.
            Exception: anything, where it is damaged.
        """
        self._name = path.name
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_:
            read = _read_archive if bytes_[:2] == b"PK" else _read_older
            self.content, self._places = read(path, bytes_)
        self._bytes = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)

    def tensor(self, name: str, made: Made) -> Tensor:
        """The tensor that was saved there, sharing its memory with the file.

        Raises:
            LavieError: a kind of tensor that LaVie does not read, or one that is larger than its storage.
        """
        if made.by not in _TENSORS:
            kind = made.by.rpartition("_rebuild_")[2]
            raise LavieError(f"{self._name} cannot be used: {name} is a special tensor ({kind}).")
        storage, offset, shape, stride = made.arguments[:4]
        _, kind, key, *_ = storage.reference
        dtype = _named_dtype(made.arguments[6]) if made.by.endswith("_v3") else _storage_dtype(kind)
        if dtype is None:
            raise LavieError(f"{self._name}: {name} has a number format that LaVie does not read.")
        start, size = self._places[f"data/{key}"]
        if not _fits(offset, shape, stride, size // dtype.itemsize):
            raise LavieError(f"{self._name} is damaged: {name} is larger than what is stored of it.")
        data: Any = self._bytes[start : start + size]
        if start % dtype.itemsize:
            data = data.clone()
        return torch.tensor([], dtype=dtype).set_(data, offset, shape, stride)


def require_inert(path: Path) -> None:
    """Refuse a pickle of any form that names what torch.save does not, so that whoever loads it runs no code.

    Raises:
        LavieError: it does, or is damaged.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content[257:262] == b"ustar":  # a form that torch has not written for years
                raise ValueError("it is a tar file")
            if content[:2] == b"PK":
                _read_archive(path, content)
            else:
                for number in range(_PICKLES):
                    if content[content.tell() : content.tell() + 1] != b"\x80":
                        if number:
                            break
                        raise ValueError("it is no pickle")
                    read_pickle(content, is_harmless)
    except Refused as refused:
        raise LavieError(f"{path} was not opened: it names {refused.name[:100]}, which may run code.") from None
    except LavieError:
        raise
    except Exception as error:  # a damaged file may lead to anything
        raise LavieError(f"{path} is damaged ({error}).") from error


def is_tensor(value: Any) -> bool:
    """Whether a value of `content` stands for a tensor, of whichever kind."""
    return isinstance(value, Made) and value.by.startswith(("torch._utils._rebuild", "torch._tensor._rebuild"))


def is_harmless(name: str) -> bool:
    """Whether a function or class that a pickle names is one of those that torch.save names beside weights."""
    return _HARMLESS.fullmatch(name) is not None


def _fits(offset: Any, shape: Any, stride: Any, count: int) -> bool:
    """Whether a view lies within a storage of `count` numbers and has no more of them than that."""
    if len(shape) != len(stride) or len(shape) > MAX_DIMENSIONS:
        return False
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in (offset, *shape, *stride)):
        return False
    if 0 in shape:
        return math.prod(size or 1 for size in shape) < 1 << 48 and offset <= count
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    return last < count and math.prod(shape) <= count


def _storage_dtype(kind: Any) -> torch.dtype | None:
    words = kind.name.rpartition(".")[2] if isinstance(kind, Named) else ""
    return _STORAGES.get(words.removesuffix("Storage"))


def _named_dtype(named: Any) -> torch.dtype | None:
    words = named.name if isinstance(named, Named) else ""
    return next((dtype for dtype in DTYPES.values() if str(dtype) == words), None)


def _read_archive(path: Path, content: mmap.mmap) -> tuple[Any, Places]:
    places = _places(path, content)
    start, size = places["data.pkl"]
    if "byteorder" in places and content[places["byteorder"][0] :][:6] != b"little":
        raise ValueError("its numbers are in the order of another kind of computer")
    return read_pickle(io.BytesIO(content[start : start + size]), is_harmless), places


def _places(path: Path, content: mmap.mmap) -> Places:
    """Where the files of a zip archive lie, by their names below the folder of data.pkl."""
    if _directory_size(content) > MAX_HEADER:
        raise ValueError("its archive has too many files")
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    names = {entry.filename.rpartition("/")[2]: entry.filename for entry in entries}
    if "constants.pkl" in names:
        raise LavieError(f"{path.name} is a TorchScript program, not weights; LaVie does not run it.")
    if "data.pkl" not in names:
        raise LavieError(f"{path.name} is a zip archive, not a checkpoint; unpack it first.")
    whole = [entry.filename.lower() for entry in entries]
    if len(set(whole)) < len(whole) or sum(name.rpartition("/")[2] == "data.pkl" for name in whole) > 1:
        raise ValueError("it holds a file twice")
    folder = names["data.pkl"].removesuffix("data.pkl")
    places: Places = {}
    for entry in entries:
        name = entry.filename.removeprefix(folder)
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise ValueError(f"its {name} is compressed")
        start = entry.header_offset + 30 + sum(struct.unpack_from("<HH", content, entry.header_offset + 26))
        if start + entry.file_size > len(content):
            raise ValueError(f"its {name} is cut off")
        places[name] = (start, entry.file_size)
    return places


def _directory_size(content: mmap.mmap) -> int:
    """Bytes of a zip archive's list of files, from its last record."""
    end = content.rfind(b"PK\x05\x06", max(0, len(content) - 65_557))
    if end < 0:
        raise ValueError("its archive has no end")
    longer = content.rfind(b"PK\x06\x06", max(0, end - 4096), end)
    form, place = ("<I", end + 12) if longer < 0 else ("<Q", longer + 40)
    return struct.unpack_from(form, content, place)[0]


def _read_older(_: Path, content: mmap.mmap) -> tuple[Any, Places]:
    """The older form; every storage is a count of numbers (int64) and the numbers."""
    if read_pickle(content, is_harmless) != _LEGACY_MAGIC:
        raise ValueError("its pickle is no PyTorch checkpoint")
    outside: list[Outside] = []
    _version, _computer, value, keys = (read_pickle(content, is_harmless, outside) for _ in range(_PICKLES - 1))
    kinds = {str(each.reference[2]): _storage_dtype(each.reference[1]) for each in outside}
    places: Places = {}
    for key in keys:
        dtype = kinds[str(key)] or torch.uint8  # those without a type count bytes
        (count,) = struct.unpack("<q", content.read(8))
        start, size = content.tell(), count * dtype.itemsize
        if not 0 <= size <= len(content) - start:
            raise ValueError("its numbers are cut off")
        places[f"data/{key}"] = (start, size)
        content.seek(start + size)
    return value, places
