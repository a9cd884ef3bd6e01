"""What `evaluate` can measure: a table of suites, to which others are added from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Suite:
    """A set of measurements by one name.

    help: what it asks. module: has `measure(request) -> figures` and `show(figures) -> text`, and is imported when the
    suite runs. clips: how many by default; clips_with: how many where an option is given. kinds: of clips, as many
    times `clips` are measured. options: what the suite is told besides what all are told, argparse's keywords by flag.
    """

    help: str
    module: str
    clips: int
    clips_with: Mapping[str, int] = field(default_factory=dict)
    kinds: Callable[[Options], int] = lambda options: 1
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def default_clips(self, options: Options) -> int:
        return next((clips for name, clips in self.clips_with.items() if options.get(name)), self.clips)


SUITES: dict[str, Suite] = {
    "interpolation": Suite(
        help="PSNR of 61 frames beside blending",
        module="lavie.evaluation.interpolation",
        clips=64,
    ),
    "upscaler": Suite(
        help="PSNR, sharpness and flicker beside bicubic",
        module="lavie.evaluation.upscaler",
        clips=32,
    ),
    "speed": Suite(
        help="what the speed presets save and cost",
        module="lavie.evaluation.speed",
        clips=8,
        kinds=lambda options: 1 if options.get("method") else 3,
        options={
            "--presets-only": {
                "action": "store_true",
                "help": "Measure only exact, balanced and fast, not each setting by itself.",
            },
            "--method": {"default": "", "help": "Measure one stage alone. (default: all)"},
        },
    ),
}


def register_suite(name: str, suite: Suite) -> None:
    """From now on `evaluate NAME` runs the suite."""
    SUITES[name] = suite


def option_name(flag: str) -> str:
    """'--gap-only' → 'gap_only'."""
    return flag.lstrip("-").replace("-", "_")
