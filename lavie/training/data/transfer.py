"""Passes objects with many tensors between processes in one shared block of memory.

Separately, each tensor would take an open file in both processes, and the number of those is limited.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Packed(Generic[T]):
    """A pickled object whose tensors lie one after another in `blocks`, one block for each dtype."""

    skeleton: bytes
    blocks: dict[torch.dtype, Tensor]
    shapes: list[tuple[torch.dtype, torch.Size]]


def pack(value: T) -> Packed[T]:
    """Separate the tensors from the object; gradients are not kept."""
    tensors: list[Tensor] = []
    stream = io.BytesIO()
    _Packer(stream, tensors).dump(value)
    blocks = {
        dtype: torch.cat([t.detach().flatten() for t in tensors if t.dtype == dtype])
        for dtype in {t.dtype for t in tensors}
    }
    return Packed(stream.getvalue(), blocks, [(t.dtype, t.shape) for t in tensors])


def unpack(packed: Packed[T]) -> T:
    """The original object; its tensors are views of the blocks."""
    taken = dict.fromkeys(packed.blocks, 0)
    tensors = []
    for dtype, shape in packed.shapes:
        start = taken[dtype]
        taken[dtype] += shape.numel()
        tensors.append(packed.blocks[dtype][start : taken[dtype]].view(shape))
    return _Unpacker(io.BytesIO(packed.skeleton), tensors).load()


class _Packer(pickle.Pickler):
    def __init__(self, stream: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self.tensors = tensors

    def persistent_id(self, value: object) -> int | None:
        if not isinstance(value, Tensor):
            return None
        self.tensors.append(value)
        return len(self.tensors) - 1


class _Unpacker(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, tensors: list[Tensor]) -> None:
        super().__init__(stream)
        self.tensors = tensors

    def persistent_load(self, index: int) -> Tensor:
        return self.tensors[index]
