"""Widgets and sockets: from knobs for settings, by hand for the rest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..lavie.config import StageConfig
from ..lavie.knobs import Knob, knobs_of
from ..lavie.long_video import METHODS, LongVideoSettings
from ..lavie.long_video.settings import ALL_HAVE

Input = tuple[Any, dict[str, Any]]

# Settings newer than the nodes, by their widgets' names: every node that has them shows them after its own
# inputs, in this order. Workflow files save widget values by position, so names are only ever added at the end.
NEWER = ("chunks", "partitions", "lookahead", "guidance_rescale", "resample", "drift_correction", "motion")
NEWER += ("control_timestep", "control_frames")

STAGE_KNOBS = {knob.widget_name: knob for knob in knobs_of(StageConfig).values() if "widget" in knob.front_ends}
METHOD_KNOBS = {knob.widget_name: knob for knob in knobs_of(LongVideoSettings).values() if "widget" in knob.front_ends}


def integer(default: int, minimum: int, maximum: int, tooltip: str, step: int = 1, **more: Any) -> Input:
    return "INT", {"default": default, "min": minimum, "max": maximum, "step": step, "tooltip": tooltip, **more}


def number(default: float, minimum: float, maximum: float, tooltip: str, step: float = 0.1, **more: Any) -> Input:
    options = {"default": default, "min": minimum, "max": maximum, "step": step, "round": 0.001, "tooltip": tooltip}
    return "FLOAT", {**options, **more}


def choice(values: Sequence[str], default: str, tooltip: str, **more: Any) -> Input:
    return list(values), {"default": default, "tooltip": tooltip, **more}


def text(default: str, tooltip: str, **more: Any) -> Input:
    return "STRING", {"default": default, "tooltip": tooltip, **more}


def socket(kind: str, tooltip: str) -> Input:
    return kind, {"tooltip": tooltip}


def widget(knob: Knob, note: str = "the model's own", **changed: Any) -> Input:
    """The widget of a setting, at the value that leaves the setting unchanged.

    note: what `Knob.off` stands for. changed: options that differ on a node.
    """
    default = untouched(knob)
    tooltip = re.sub(r"--([a-z-]+)", lambda flag: flag[1].replace("-", "_"), knob.help)
    if knob.off is not None and default not in knob.choices:
        tooltip += f" {str(default).removesuffix('.0').replace('-', '−')}: {note}."
    if knob.choices:
        others = [] if default in knob.choices else [default]
        kind, options = choice([*others, *knob.choices], default, tooltip)
    elif knob.kind is bool:
        kind, options = "BOOLEAN", {"default": default, "tooltip": tooltip}
    elif knob.many == "append":
        kind, options = text("", f"{tooltip} One {knob.metavar} per line.".replace("  ", " "), multiline=True)
    elif knob.kind is str:
        kind, options = text(default, tooltip)
    else:
        kind, options = _number_widget(knob, default, tooltip)
    folded = {"advanced": True} if knob.advanced else {}  # older hosts do not know it, and show the widget
    return kind, {**options, **folded, **changed}


def _number_widget(knob: Knob, default: float, tooltip: str) -> Input:
    if knob.minimum is None or knob.maximum is None:
        raise TypeError(f"{knob.name} needs a range to be shown")
    minimum, maximum = min(default, knob.minimum), knob.maximum
    if knob.kind is int:
        return integer(int(default), int(minimum), int(maximum), tooltip, int(knob.step or 1))
    return number(float(default), float(minimum), float(maximum), tooltip, float(knob.step or 0.1))


def stage_knobs(stages: Sequence[str]) -> dict[str, Knob]:
    """The settings of any of these stages, by their widgets' names."""
    return {name: knob for name, knob in STAGE_KNOBS.items() if not knob.stages or set(knob.stages) & set(stages)}


def method_knobs(methods: Sequence[str]) -> dict[str, Knob]:
    """The settings of any of these long-video methods, by their widgets' names."""
    had = {name for method in methods for name in (*METHODS[method].has, *ALL_HAVE)}
    return {name: knob for name, knob in METHOD_KNOBS.items() if knob.name in had}


def method_widget(knob: Knob, methods: Sequence[str]) -> Input:
    """The widget of a long-video setting; if not all of these methods have it, the tooltip says which do."""
    kind, options = widget(knob, "the method's own")
    having = [method for method in methods if knob.name in METHODS[method].has]
    if knob.name not in ALL_HAVE and len(having) < len(methods):
        options["tooltip"] += f" For {', '.join(having)}."
    return kind, options


def given(knobs: dict[str, Knob], values: dict[str, Any]) -> dict[str, Any]:
    """The values of these settings' widgets, by the settings' names, without those left unchanged."""
    asked = ((knob, _value(knob, values[name])) for name, knob in knobs.items() if name in values)
    return {knob.name: value for knob, value in asked if value != untouched(knob)}


def _value(knob: Knob, shown: Any) -> Any:
    """What a widget's value says; a setting with many values has one in each line."""
    if knob.many == "append":
        return tuple((knob.parse or str)(line.strip()) for line in shown.splitlines() if line.strip())
    return shown.strip() if isinstance(shown, str) else shown


def untouched(knob: Knob) -> Any:
    """The value of a widget that leaves the setting unchanged."""
    return knob.default if knob.off is None else knob.off


SEED = integer(
    0,
    0,
    2**64 - 1,
    "The noise to start from. The same seed and settings give the same video.",
    control_after_generate=True,
)
