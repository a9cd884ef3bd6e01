"""The strength of a LoRA over the denoising steps: layout and motion are decided early, the look late."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from ..errors import UsageError
from ..sampling.schedule import NUM_TRAIN_TIMESTEPS

PRESETS = {"LATE": "0: 0, 0.25: 0.25, 0.5: 1", "EARLY": "0: 1, 0.5: 1, 0.75: 0"}
MOST = 20.0
GRAIN = 1 / 32  # factors are rounded to multiples of it, so that neighbouring steps share their weights


@dataclass(frozen=True)
class StepStrengths:
    """Factors on the strength of a LoRA on the UNet, by the progress of denoising.

    points: (progress 0…1, factor) in order, interpolated linearly; empty: 1 throughout. Progress is 0 at pure noise
    (timestep 999) and 1 at the clean clip, whatever the number of steps.
    """

    points: tuple[tuple[float, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> StepStrengths:
        """A preset ("LATE" keeps the model's own motion, "EARLY"), or points: "0: 0.2, 0.5: 1"; "" changes nothing.

        Raises:
            UsageError: neither, a progress outside 0…1 or out of order, or a factor beyond ±20.
        """
        text = PRESETS.get(text.strip().upper(), text)
        points = tuple(_point(entry, text) for entry in text.split(",") if entry.strip())
        if any(later <= earlier for (earlier, _), (later, _) in pairwise(points)):
            raise UsageError(f"The points of '{text}' must come in order of progress.")
        return cls(points)

    def at(self, timestep: float) -> float:
        """The factor at a timestep 0…999."""
        if not self.points:
            return 1.0
        progress = 1 - timestep / (NUM_TRAIN_TIMESTEPS - 1)
        after = bisect_right([place for place, _ in self.points], progress)
        if after in (0, len(self.points)):
            return self.points[min(after, len(self.points) - 1)][1]
        (x0, y0), (x1, y1) = self.points[after - 1 : after + 1]
        return round((y0 + (y1 - y0) * (progress - x0) / (x1 - x0)) / GRAIN) * GRAIN


def _point(entry: str, text: str) -> tuple[float, float]:
    place, colon, factor = entry.partition(":")
    try:
        point = float(place), float(factor)
    except ValueError:
        point = (math.nan, math.nan)
    if not colon or not 0 <= point[0] <= 1 or not abs(point[1]) <= MOST:
        raise UsageError(
            f"'{text.strip()}' is no strength over the steps: write {' or '.join(PRESETS)}, or points from 0 (noise) "
            f"to 1 (done) with strengths up to {MOST:g}, as in '0: 0.2, 0.5: 1'."
        )
    return point
