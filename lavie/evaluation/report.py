"""The request of an evaluation, and how its figures are shown."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

PERCENT, CHANGE, NUMBER = "{:.1%}", "{:+.2%}", "{:.2f}"


@dataclass(frozen=True)
class SuiteRequest:
    """model: a family's name or folder. clips: how many. seed: of the clips and of the noise, clip by clip.

    batch: clips at a time. videos: what to measure, as `open_source` takes it; "" for the registered clips. options:
    the suite's own, by name. settings: of the pipeline, None for the model's own. progress: is told of clips done.
    """

    model: str
    clips: int
    seed: int = 1000
    batch: int = 8
    device: str = "auto"
    videos: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[int], object] = lambda clips: None

    @property
    def method(self) -> str:
        """Of several suites' options the one by the same name; "" where nothing was said."""
        return self.options.get("method", "")


def mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values)) if values else float("nan")


def clock_of(device: torch.device) -> Callable[[], float]:
    """A clock in seconds; on a CPU it counts the time of this process, which other work does not affect."""
    return time.process_time if device.type == "cpu" else time.perf_counter


def table(title: str, columns: Mapping[str, str], rows: Mapping[str, Mapping[str, float | None]]) -> str:
    """Rows of named figures as lines of text.

    columns: a format for every column, by its name. A figure that is missing or None is shown as –.
    """
    first = max(len(title), *(len(name) for name in rows))
    widths = {name: max(len(name), 8) for name in columns}
    lines = [f"{title:<{first}}" + "".join(f"  {name:>{width}}" for name, width in widths.items())]
    for name, figures in rows.items():
        cells = (_cell(figures.get(column), pattern) for column, pattern in columns.items())
        lines.append(f"{name:<{first}}" + "".join(f"  {c:>{w}}" for c, w in zip(cells, widths.values(), strict=True)))
    return "\n".join(lines)


def rounded(figures: Any) -> Any:
    """The same figures rounded to four decimals for JSON; numbers that are not finite become None."""
    if isinstance(figures, Mapping):
        return {str(name): rounded(value) for name, value in figures.items()}
    if isinstance(figures, list | tuple):
        return [rounded(value) for value in figures]
    if isinstance(figures, float):
        return round(figures, 4) if math.isfinite(figures) else None
    return figures


def _cell(figure: float | None, pattern: str) -> str:
    return "–" if figure is None or math.isnan(figure) else pattern.format(figure)
