"""How much arithmetic a network does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@contextmanager
def counted_arithmetic(network: nn.Module) -> Iterator[list[int]]:
    """While it lasts, the list grows by the floating-point operations of every call of the network.

    Counted are matrix products, convolutions and attention, as torch's own counter does.
    """
    forward, counts = network.forward, []

    def counting(*args: Any, **kwargs: Any) -> Tensor:
        with FlopCounterMode(display=False) as counter:
            out = forward(*args, **kwargs)
        counts.append(counter.get_total_flops())
        return out

    network.forward = counting
    try:
        yield counts
    finally:
        del network.forward
