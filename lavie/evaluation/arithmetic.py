"""How much arithmetic a network does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def operation_counter() -> FlopCounterMode:
    """Torch's counter of floating-point operations, which by itself overlooks the fused attention of CPUs."""
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={fused: _of_attention})


def _of_attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


@contextmanager
def counted_arithmetic(network: nn.Module) -> Iterator[list[int]]:
    """Within the block, every call of the network adds its floating-point operations to the list.

    Counted are matrix products, convolutions and attention.
    """
    forward, counts = network.forward, []

    def counting(*args: Any, **kwargs: Any) -> Tensor:
        with operation_counter() as counter:
            out = forward(*args, **kwargs)
        counts.append(counter.get_total_flops())
        return out

    network.forward = counting
    try:
        yield counts
    finally:
        del network.forward
