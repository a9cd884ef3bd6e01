"""Reads files into named tensors: safetensors, and PyTorch pickles without ever running code.

The content decides what a file is, not its extension.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import LavieError

# Dictionaries that training programs wrap weights in; "ema" first, as the official loaders look for it.
_WRAPPERS = ("ema", "state_dict", "model_state_dict", "model", "module", "params_ema", "params")
# Prefixes that data parallelism, torch.compile and Stable Diffusion's own code put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.diffusion_model.", "unet.")

# Programs that let nobody write metadata keep them as a tensor: the bytes of a JSON object of strings.
NOTES, _SAVED_BY_COMFYUI = "lavie.notes", "model.diffusion_model."

_PICKLE_HOLES = {"CVE-2025-32434": (2, 6), "CVE-2026-24747": (2, 10)}  # fixed in this torch


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one file.

    tensors: by name; with `read_layout` they are on the meta device (shapes and dtypes, no data).
    container: "safetensors" or "pickle".
    wrapper: the key of the pickled dictionary that held the weights ("ema"), empty if none did.
    metadata: the strings in a safetensors header.
    """

    path: Path
    container: str
    tensors: dict[str, Tensor]
    wrapper: str = ""
    metadata: dict[str, str] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Open a checkpoint file; the data stay on disk, mapped into memory, where the format allows it.

    Raises:
        LavieError: the file is missing, empty, truncated, no checkpoint, or holds code.
    """
    path = Path(path)
    if _container(path) == "safetensors":
        with _open_safetensors(path) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _checkpoint(path, "safetensors", tensors, metadata=file.metadata() or {})
    content = _load_pickle(path)
    wrapper = next((key for key in _WRAPPERS if _holds_tensors(_get(content, key))), "")
    tensors = _tensors_of(content[wrapper] if wrapper else content)
    if not tensors:
        raise LavieError(f"{path.name} is a PyTorch file without named weights in it.")
    return _checkpoint(path, "pickle", tensors, wrapper)


def read_layout(path: str | Path) -> Checkpoint:
    """Like `read_checkpoint`, but with meta tensors: reads only the header of a safetensors file."""
    path = Path(path)
    if _container(path) == "safetensors":
        with _open_safetensors(path) as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            tensors = {
                name: file.get_tensor(name)
                if name.endswith(NOTES)
                else torch.empty(part.get_shape(), dtype=_dtype(part.get_dtype()), device="meta")
                for name, part in slices.items()
            }
            return _checkpoint(path, "safetensors", tensors, metadata=file.metadata() or {})
    found = read_checkpoint(path)
    tensors = {name: tensor.to("meta") for name, tensor in found.tensors.items()}
    return Checkpoint(path, found.container, tensors, found.wrapper)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The named tensors of a checkpoint file, in the file's own precision; see `read_checkpoint`."""
    return read_checkpoint(path).tensors


def _checkpoint(
    path: Path,
    container: str,
    tensors: dict[str, Tensor],
    wrapper: str = "",
    metadata: dict[str, str] | None = None,
) -> Checkpoint:
    if f"{_SAVED_BY_COMFYUI}{NOTES}" in tensors:  # beside the UNet it may hold marks of ComfyUI's
        tensors = {name: tensor for name, tensor in tensors.items() if name.startswith(_SAVED_BY_COMFYUI)}
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    notes = {} if NOTES not in tensors else json.loads(bytes(tensors.pop(NOTES).tolist()))
    return Checkpoint(path, container, tensors, wrapper, {**(metadata or {}), **notes})


def notes_tensor(notes: Mapping[str, str]) -> Tensor:
    """The tensor for `NOTES`, uint8."""
    return torch.tensor(list(json.dumps(dict(notes)).encode()), dtype=torch.uint8)


def _container(path: Path) -> str:
    """ "safetensors" or "pickle", from the first bytes."""
    if path.is_dir():
        raise LavieError(f"{path} is a folder; a checkpoint file is needed.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise LavieError(f"There is no checkpoint {path}.") from None
    except OSError as error:
        raise LavieError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not size:
        raise LavieError(f"{path.name} is empty (0 bytes); the download or copy never finished.")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000:
        return "safetensors"
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        return "pickle"
    raise LavieError(f"{path.name} is not a checkpoint: {_seems(head)}.")


def _seems(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, a note in place of the real file (fetch that with `git lfs pull`)"
    if head.lstrip()[:1] == b"<":
        return "it is a web page, perhaps saved in place of the file that it offers"
    if head.isascii() and b"\0" not in head:
        return "it is a text file"
    return "neither safetensors nor a PyTorch file"


@contextmanager
def _open_safetensors(path: Path) -> Iterator[Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise LavieError(_damaged(path, error)) from error


def _dtype(name: str) -> torch.dtype:
    known = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    known |= {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8}
    known |= {"U8": torch.uint8, "BOOL": torch.bool}
    known |= {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2}
    if name not in known:
        raise LavieError(f"A tensor has the number format {name}, which LaVie does not read.")
    return known[name]


def _load_pickle(path: Path) -> Any:
    _warn_of_pickle_holes()
    try:
        zipped = _check_archive(path)
        with warnings.catch_warnings(), _inert_classes_allowed():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except LavieError:
        raise
    except pickle.UnpicklingError as error:
        raise LavieError(_refusal(path, str(error))) from error
    except Exception as error:  # damaged files make the unpickler raise anything
        raise LavieError(_damaged(path, error)) from error


def _check_archive(path: Path) -> bool:
    """True for the zip format of torch.save, False for the older plain pickle.

    A TorchScript archive is refused here: torch < 2.6 runs it in spite of weights_only (CVE-2025-32434).
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return False
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in names:
        raise LavieError(f"{path.name} is a TorchScript program, not weights; LaVie does not run it.")
    if "data.pkl" not in names:
        raise LavieError(f"{path.name} is a zip archive, not a checkpoint; unpack it first.")
    return True


def _inert_classes_allowed() -> AbstractContextManager:
    """Training programs keep their arguments beside the weights; argparse.Namespace only holds attributes
    and runs nothing, so it is let through. torch 2.4 cannot allow a class for one call: it refuses it."""
    allow = getattr(torch.serialization, "safe_globals", None)
    return allow([argparse.Namespace]) if allow else nullcontext()


def _refusal(path: Path, message: str) -> str:
    found = re.search(r"GLOBAL (\S+)", message)
    if not found:
        return f"{path.name} is truncated or damaged, or its pickle is no PyTorch checkpoint; fetch or copy it again."
    return (
        f"{path.name} was not opened: beside weights it holds {found[1]}, which a pickle may use to run code. "
        "Get it as .safetensors, or have its author save the weights alone: torch.save(model.state_dict(), …)."
    )


def known_pickle_holes(version: str) -> list[str]:
    """The published ways around weights_only that this version of torch has: known_pickle_holes("2.5.1")."""
    release = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return [name for name, fixed in _PICKLE_HOLES.items() if release < fixed]


@lru_cache(maxsize=1)  # once per process
def _warn_of_pickle_holes() -> None:
    holes = known_pickle_holes(torch.__version__)
    if holes:
        warnings.warn(
            f"torch {torch.__version__} has known holes in safe loading of .pt files ({', '.join(holes)}): "
            "open only files from people you trust, or update torch to 2.10. "
            "`lavie convert FILE` makes a .safetensors file, which cannot hold code.",
            stacklevel=2,
        )


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else None


def _holds_tensors(content: Any) -> bool:
    return isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values())


def _tensors_of(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}


def _damaged(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
    return f"{path.name} is truncated or damaged; fetch or copy it again ({reason})."
