"""A setting is declared once: a dataclass field that knows its help, its range and how front ends name it.

Command-line flags (`flags.py`), widgets (`nodes/widgets.py`), range checks, help tables and the metadata of a video are
derived from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import UsageError

KEY = "knob"  # in a field's metadata
REQUIRED = MISSING  # the default of a knob that has none


@dataclass(frozen=True)
class Knob:
    """The traits of one setting.

    help: one or two sentences for the user, shown as flag help and tooltip. minimum, maximum: the range, both included;
    None: open. choices: the possible values of a name. stages: those that have the setting; empty: all. off: the
    widget's value, outside the range, that means "the model's own". unset: what None means, in words. flag, widget: the
    name on the command line and in a graph, if it is not the field's; aliases: other flags for it. step: of the widget.
    metavar: of the flag. parse: reads a flag's text, if the type does not say how. many: True for one value or more, a
    number for exactly that many, "append" for a flag that can be repeated; the field is then a tuple, and range and
    kind are those of one value. front_ends: where users see the setting. advanced: a graph folds it away, as a beginner
    does not turn it.

    name, kind, default: the field's own, filled in by `knobs_of`; default: `REQUIRED` where there is none.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    off: Any = None
    unset: str = ""
    flag: str = ""
    aliases: tuple[str, ...] = ()
    widget: str = ""
    step: float | None = None
    metavar: str | tuple[str, ...] = ""
    parse: Callable[[str], Any] | None = None
    many: bool | int | str = False
    front_ends: tuple[str, ...] = ("flag", "widget")
    advanced: bool = False
    name: str = ""
    kind: type = str
    default: Any = None

    @property
    def flag_name(self) -> str:
        """As on the command line, without the dashes before it."""
        return self.flag or self.name.replace("_", "-")

    @property
    def widget_name(self) -> str:
        return self.widget or self.name

    @property
    def words(self) -> str:
        """The name in a sentence."""
        return self.flag_name.replace("-", " ")

    @property
    def range_words(self) -> str:
        """As "0…100", "1 or more", "one of: a, b", or nothing."""
        if self.choices:
            return f"one of: {', '.join(self.choices)}"
        if self.minimum is None or self.maximum is None:
            return "" if self.minimum is None else f"{_digits(self.minimum)} or more"
        return f"{_digits(self.minimum)}…{_digits(self.maximum)}"

    def check(self, value: Any) -> None:
        """Refuse a value outside the range.

        Raises:
            UsageError: names the setting, its range and the value.
        """
        if value is None or value == self.default:
            return
        if self.many and isinstance(value, list | tuple):
            for each in value:
                self.check(each)
            return
        if self.choices:
            if isinstance(value, str) and value not in self.choices:
                raise UsageError(f"Unknown {self.words} '{value}'. Choose {', '.join(self.choices)}.")
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if not (low <= value <= high and math.isfinite(value)):
            bounded = math.isfinite(low) and math.isfinite(high)
            within = f"between {_digits(low)} and {_digits(high)}" if bounded else self.range_words
            raise UsageError(f"The {self.words} must be {within or 'a finite number'}, not {_digits(value)}.")


def knob(default: Any, help: str, within: tuple[float | None, float | None] = (None, None), **traits: Any) -> Any:
    """A dataclass field with this default, shown by front ends; within: minimum and maximum; traits: others of
    `Knob`."""
    return field(default=default, metadata={KEY: Knob(help, *within, **traits)})


def same_knob(settings: type, name: str, default: Any, **traits: Any) -> Any:
    """A field with the knob of another dataclass, but with this default and these traits."""
    declared = next(each for each in fields(settings) if each.name == name).metadata[KEY]
    return field(default=default, metadata={KEY: replace(declared, **traits)})


@cache
def knobs_of(settings: type, stage: str = "") -> dict[str, Knob]:
    """The knobs of a dataclass by field name, in order; with a stage, only those that the stage has."""
    hints = get_type_hints(settings)
    found = {}
    for each in fields(settings):
        declared: Knob | None = each.metadata.get(KEY)
        if declared is None or (stage and declared.stages and stage not in declared.stages):
            continue
        kind = _kind(hints[each.name], bool(declared.many))
        found[each.name] = replace(declared, name=each.name, kind=kind, default=each.default)
    return found


def _kind(hint: Any, many: bool) -> type:
    """The type of a value: without None and, for a knob with many values, of one of them."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(part for part in get_args(hint) if part is not type(None))
    return get_args(hint)[0] if many and get_origin(hint) is tuple else hint


def check_knobs(settings: Any, stage: str = "") -> None:
    """Refuse an instance with a setting outside its range."""
    for name, declared in knobs_of(type(settings), stage).items():
        declared.check(getattr(settings, name))


def described(settings: Any, stage: str = "") -> dict[str, Any]:
    """Every setting of an instance, for metadata; a value with a `metadata()` method chooses its own form."""
    values = {name: getattr(settings, name) for name in knobs_of(type(settings), stage)}
    return {name: value.metadata() if hasattr(value, "metadata") else value for name, value in values.items()}


def documented(settings: type, stage: str = "") -> Callable[[Any], Any]:
    """Decorator for a function that takes these settings as keywords: lists them at the end of its docstring."""

    def extend(function: Any) -> Any:
        knobs = knobs_of(settings, stage).items()
        rows = [f"    {name}: {knob.help}" + f" ({knob.range_words})" * bool(knob.range_words) for name, knob in knobs]
        function.__doc__ = "\n".join(
            [(function.__doc__ or "").rstrip(), "", "Settings (None: the model's own):", *rows]
        )
        return function

    return extend


def _digits(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
