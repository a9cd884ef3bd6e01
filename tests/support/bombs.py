"""Files made to do harm, by the names that they are written under."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file


class _Call:
    """Pickled as a call that the reader is to make."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def _code(path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": _Call(os.mkdir, str(path.parent / "pwned"))}, path)


def _huge_view(path: Path) -> None:
    storage = torch.ones(4)._typed_storage()
    torch.save({"a": _Call(torch._utils._rebuild_tensor_v2, storage, 0, (1 << 33,), (1,), False, {})}, path)


def _huge_bytes(path: Path) -> None:
    torch.save({"a": torch.ones(2), "b": _Call(bytearray, 1 << 36)}, path)


def _compressed(path: Path) -> None:
    torch.save({"a": torch.zeros(1_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(name, data)


def _many_empty(path: Path) -> None:
    entries = {f"{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(30_000)}
    header = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def _cut_off(path: Path) -> None:
    save_file({"conv_in.weight": torch.ones(4, 4, 3, 3)}, path)
    path.write_bytes(path.read_bytes()[:-9])


def _lora(path: Path, up: tuple[int, int], config: dict) -> None:
    layer = "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{layer}.lora_A.weight": torch.ones(2, 8), f"{layer}.lora_B.weight": torch.ones(*up)}
    save_file(tensors, path, {"lora_adapter_metadata": json.dumps({"r": 2, "lora_alpha": 4, **config})})


MODELS: dict[str, Callable[[Path], object]] = {
    "code.pt": _code,
    "huge view.pt": _huge_view,
    "huge bytes.pt": _huge_bytes,
    "compressed.pt": _compressed,
    "many empty.safetensors": _many_empty,
    "cut off.safetensors": _cut_off,
    "text.safetensors": lambda path: path.write_text("\x1b[2J not a model"),
    "empty.safetensors": lambda path: path.touch(),
    "pipe.pt": os.mkfifo,
    "device.safetensors": lambda path: path.symlink_to("/dev/zero"),
}
LORAS: dict[str, Callable[[Path], object]] = {
    "pattern.safetensors": lambda path: _lora(path, (8, 2), {"alpha_pattern": {"(a+)+$": 1}, "rank_pattern": {}}),
    "shapes.safetensors": lambda path: _lora(path, (300_000, 2), {}),
    "deep.safetensors": lambda path: save_file({"a": torch.ones(2)}, path, {"lora_adapter_metadata": "[" * 100_000}),
    **{name: MODELS[name] for name in ("code.pt", "huge view.pt", "many empty.safetensors", "pipe.pt")},
}
