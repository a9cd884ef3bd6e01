"""What a ControlNet or T2I-Adapter adds inside a UNet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from torch import Tensor

from ..errors import UsageError

Parts = tuple[Tensor | None, ...]


@dataclass(frozen=True)
class Residuals:
    """Feature maps [batch · frames, channels, height, width], or None where nothing is added.

    skips: for the skip tensors, in the order in which the way down makes them (ControlNets). middle: for what leaves
    the middle block. inputs: for what leaves conv_in and each layer of the way down, skip tensors included
    (T2I-Adapters).
    """

    skips: Parts = ()
    middle: Tensor | None = None
    inputs: Parts = ()

    def on_skips(self, skips: Sequence[Tensor]) -> list[Tensor]:
        """The skip tensors with what is added; the last ones may be missing."""
        return [added(skip, part) for skip, part in zip_longest(skips, self.skips[: len(skips)])]

    def map(self, change: Callable[[Tensor], Tensor]) -> Residuals:
        """Every feature map changed by a function."""

        def changed(part: Tensor | None) -> Tensor | None:
            return None if part is None else change(part)

        return Residuals(tuple(map(changed, self.skips)), changed(self.middle), tuple(map(changed, self.inputs)))


NOTHING = Residuals()


def added(x: Tensor, part: Tensor | None) -> Tensor:
    """A feature map and what is added to it.

    Raises:
        UsageError: it has another shape.
    """
    if part is None:
        return x
    if part.shape[1] != x.shape[1] or part.shape[0] not in (1, x.shape[0]):
        raise UsageError(
            f"A ControlNet or T2I-Adapter adds feature maps of {part.shape[1]} channels where this network has "
            f"{x.shape[1]}: it was made for another model. LaVie takes those for Stable Diffusion 1.x."
        )
    return x + part.to(x)


def summed(several: Iterable[Residuals]) -> Residuals:
    """What several controls add together."""
    total = NOTHING
    for each in several:
        total = Residuals(
            tuple(_sum(*pair) for pair in zip_longest(total.skips, each.skips)),
            _sum(total.middle, each.middle),
            tuple(_sum(*pair) for pair in zip_longest(total.inputs, each.inputs)),
        )
    return total


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b.to(a)
