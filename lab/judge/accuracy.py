"""How often the judge is right about rendered clips: `python -m lab.judge.accuracy [CLIPS]`."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable

import torch

from lavie.models.latents import to_uint8

from ..world.captions import caption
from ..world.scene import Scene
from .fit import examples
from .judge import Reading, read

SEED = 4001


def right(scene: Scene, reading: Reading) -> dict[str, bool | float]:
    """Which parts of the reading agree with the scene; figures of a guest only if the scene has one."""
    names = ("place", "time", "weather", "camera")
    found: dict[str, bool | float] = {name: getattr(reading, name) == getattr(scene, name) for name in names}
    guest = scene.guest
    found["flicker"] = reading.flicker
    found["guests"] = reading.guests == (guest is not None)
    if guest is not None:
        found |= {name: getattr(reading, name) == getattr(guest, name) for name in ("kind", "colour")}
        if guest.motion.startswith("moving"):
            found["direction"] = reading.motion == guest.motion
        found["motion"] = reading.motion == guest.motion
        found |= {"steady": reading.steady, "overlap": reading.overlap, "fall": reading.fall}
    return found


def shares(rows: Iterable[dict[str, bool | float]]) -> dict[str, float]:
    """The mean of every figure over the clips that have it."""
    sums: defaultdict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    for row in rows:
        for name, value in row.items():
            sums[name] += float(value)
            counts[name] += 1
    return {name: sums[name] / counts[name] for name in counts}


def main() -> None:
    count, rows = int(sys.argv[1]) if len(sys.argv) > 1 else 400, []
    for number, (scene, rendering) in enumerate(examples(SEED, count)):
        reading = read(to_uint8(rendering.video).permute(1, 2, 3, 0))
        rows.append(right(scene, reading))
        wrong = [name for name, good in rows[-1].items() if good is False]
        if wrong:
            seen = {name: getattr(reading, name, reading.motion) for name in wrong}
            print(number, caption(scene), "| seen:", seen, flush=True)
    for name, share in shares(rows).items():
        print(f"{name:10} {share:6.2f} of 255" if name == "flicker" else f"{name:10} {100 * share:6.2f} %")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
