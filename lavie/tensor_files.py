"""Reads files into named tensors: safetensors, and PyTorch pickles without ever running code.

The content decides what a file is, not its extension.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .bounded import (
    MAX_HEADER,
    MAX_NAME,
    MAX_SHARED,
    MAX_TENSORS,
    MAX_TEXT,
    parse_json,
    regular_size,
    require_fields,
    word,
)
from .errors import LavieError
from .pickles import Made, Refused
from .torch_files import DTYPES, TorchFile, is_tensor

# Dictionaries that training programs wrap weights in; "ema" first, as the official loaders look for it.
_WRAPPERS = ("ema", "state_dict", "model_state_dict", "model", "module", "params_ema", "params")
# Prefixes that data parallelism, torch.compile and Stable Diffusion's own code put before every name.
_PREFIXES = ("module.", "_orig_mod.", "model.diffusion_model.", "unet.")

# Programs that do not let others write metadata keep them as a tensor: the bytes of a JSON object of strings.
NOTES, _SAVED_BY_COMFYUI = "lavie.notes", "model.diffusion_model."


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
        LavieError: the file is missing, empty, truncated, no checkpoint, beyond all bounds, or holds code.
    """
    path = Path(path)
    if _container(path) == "safetensors":
        with _open_safetensors(path) as (file, _):
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _checkpoint(path, "safetensors", tensors, metadata=file.metadata() or {})
    return _read_torch(path)


def read_layout(path: str | Path) -> Checkpoint:
    """Like `read_checkpoint`, but with meta tensors: reads only the header of a safetensors file."""
    path = Path(path)
    if _container(path) == "safetensors":
        with _open_safetensors(path) as (file, layout):
            tensors = {
                name: file.get_tensor(name) if name.endswith(NOTES) else torch.empty(shape, dtype=dtype, device="meta")
                for name, (shape, dtype) in layout.items()
            }
            return _checkpoint(path, "safetensors", tensors, metadata=file.metadata() or {})
    found = _read_torch(path)
    tensors = {name: tensor.to("meta") for name, tensor in found.tensors.items()}
    return Checkpoint(path, found.container, tensors, found.wrapper, found.metadata)


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
    notes = _notes(path, tensors.pop(NOTES)) if NOTES in tensors else {}
    return Checkpoint(path, container, tensors, wrapper, {**(metadata or {}), **notes})


def _notes(path: Path, tensor: Tensor) -> dict[str, str]:
    where = f"The notes in {path.name}"
    if tensor.dtype != torch.uint8 or tensor.ndim != 1 or len(tensor) > MAX_TEXT:
        raise LavieError(f"{where} cannot be read: they are no bytes of a text.")
    notes = parse_json(bytes(tensor.tolist()).decode("utf-8", "replace"), where)
    require_fields(notes, dict.fromkeys(notes, word()), where)
    return notes


def notes_tensor(notes: Mapping[str, str]) -> Tensor:
    """The tensor for `NOTES`, uint8."""
    return torch.tensor(list(json.dumps(dict(notes)).encode()), dtype=torch.uint8)


def _container(path: Path) -> str:
    """ "safetensors" or "pickle", from the first bytes."""
    if path.is_dir():
        raise LavieError(f"{path} is a folder; a checkpoint file is needed.")
    if not path.exists():
        raise LavieError(f"There is no checkpoint {path}.")
    size = regular_size(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise LavieError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not size:
        raise LavieError(f"{path.name} is empty (0 bytes); the download or copy never finished.")
    if head[8:9] == b"{":
        if int.from_bytes(head[:8], "little") > MAX_HEADER:
            raise LavieError(f"{path.name} is damaged: no checkpoint describes its tensors in so many bytes.")
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
def _open_safetensors(path: Path) -> Iterator[tuple[Any, dict[str, tuple[list[int], torch.dtype]]]]:
    """The open file, and shape and number format of every tensor."""
    try:
        with safe_open(str(path), framework="pt") as file:
            names = list(file.keys())
            _require_plausible(path, names)
            slices = {name: file.get_slice(name) for name in names}
            yield (
                file,
                {name: (part.get_shape(), _dtype(path, name, part.get_dtype())) for name, part in slices.items()},
            )
    except (SafetensorError, OSError, RuntimeError, OverflowError) as error:
        raise LavieError(_damaged(path, error)) from error


def _dtype(path: Path, name: str, form: str) -> torch.dtype:
    if form not in DTYPES:
        raise LavieError(f"{path.name}: {name} has the number format {form}, which LaVie does not read.")
    return DTYPES[form]


def _read_torch(path: Path) -> Checkpoint:
    try:
        file = TorchFile(path)
        content = file.content
        wrapper = next((key for key in _WRAPPERS if _tensors_of(_get(content, key))), "")
        found = _tensors_of(content[wrapper] if wrapper else content)
        if not found:
            raise LavieError(f"{path.name} is a PyTorch file without named weights in it.")
        _require_plausible(path, found)
        tensors = {name: file.tensor(name, made) for name, made in found.items()}
    except LavieError:
        raise
    except Refused as refused:
        raise LavieError(
            f"{path.name} was not opened: beside weights it holds {refused.name[:100]}, which a pickle may use to run "
            "code. Get it as .safetensors, or have its author save the weights alone: "
            "torch.save(model.state_dict(), …)."
        ) from None
    except Exception as error:  # a damaged file may lead to anything
        raise LavieError(_damaged(path, error)) from error
    if sum(tensor.nbytes for tensor in tensors.values()) > MAX_SHARED * path.stat().st_size:
        raise LavieError(f"{path.name} is damaged: its tensors are many times as large as the file.")
    return _checkpoint(path, "pickle", tensors, wrapper)


def _require_plausible(path: Path, names: Collection[str]) -> None:
    if len(names) > MAX_TENSORS:
        raise LavieError(f"{path.name} holds {len(names)} tensors; no model that LaVie knows has so many.")
    longest = max(map(len, names), default=0)
    if longest > MAX_NAME:
        raise LavieError(f"{path.name} is damaged: the name of a tensor has {longest} characters.")


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, Mapping) else None


def _tensors_of(content: Any) -> dict[str, Made]:
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value for name, value in content.items() if is_tensor(value)}


def _damaged(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
    return f"{path.name} is truncated or damaged; fetch or copy it again ({reason})."
