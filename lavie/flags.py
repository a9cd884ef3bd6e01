"""Command-line flags from knobs, and settings from what the user typed.

A command's settings are one dataclass of knobs, or a dataclass of such parts, each a group of flags in the help:

    @dataclass(frozen=True)
    class Settings:
        loop: LoopSettings = part("optimisation", batch_size=2)  # with a default of its own

    add_flags(parser, Settings)
    settings = settings_from(parser.parse_args(), Settings)

Flags that the user leaves out are not in the namespace: the dataclass knows its defaults.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

from .config import MAX_SIDE
from .errors import UsageError
from .knobs import REQUIRED, Knob, knobs_of

PART = "part"  # in a field's metadata
MAX_SHOWN = 1000  # a range that ends higher is not shown
Flags = argparse.ArgumentParser | argparse._ArgumentGroup
Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Part:
    """A part of a command's settings. title: of its group in the help. defaults: those that differ from the part's
    own."""

    title: str
    defaults: Mapping[str, Any]
    kind: type = object


def part(title: str, **defaults: Any) -> Any:
    """A dataclass field that holds another dataclass of knobs."""
    return field(metadata={PART: Part(title, defaults)})


def parts_of(settings: type) -> dict[str, Part]:
    """The parts of a command's settings by field name."""
    hints = get_type_hints(settings)
    found = ((each.name, each.metadata.get(PART)) for each in fields(settings))
    return {name: Part(made.title, made.defaults, hints[name]) for name, made in found if made is not None}


def add_flags(
    parser: Flags,
    settings: type,
    stage: str = "",
    names: Collection[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> None:
    """Add a flag for every knob of the dataclass that the command line shows.

    Args:
        stage: only knobs that this stage has. names: only those fields. defaults: shown in the help instead of the
            fields' own, by field name.
    """
    for each in parts_of(settings).values():
        add_flags(parser.add_argument_group(each.title), each.kind, stage, names, each.defaults)
    for name, knob in flag_knobs(settings, stage, names).items():
        _add(parser, knob, (defaults or {}).get(name, knob.default))


def given(args: argparse.Namespace, settings: type, stage: str = "") -> dict[str, Any]:
    """What the user typed, by field name, without flags that were left out."""
    typed = {name: getattr(args, name) for name in flag_knobs(settings, stage) if hasattr(args, name)}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in typed.items()}


def settings_from(args: argparse.Namespace, settings: type[Settings]) -> Settings:
    """The settings as the user typed them, with the defaults of parts and fields for the rest."""
    parts = parts_of(settings).items()
    made = {name: each.kind(**{**each.defaults, **given(args, each.kind)}) for name, each in parts}
    return settings(**made, **given(args, settings))


def flag_knobs(settings: type, stage: str = "", names: Collection[str] | None = None) -> dict[str, Knob]:
    """The knobs of one dataclass, without its parts, that the command line shows."""
    known = knobs_of(settings, stage)
    return {
        name: knob for name, knob in known.items() if "flag" in knob.front_ends and (names is None or name in names)
    }


def flags_of(settings: type) -> dict[str, Knob]:
    """The knob behind every flag of a command's settings: {"--batch": …}, aliases and parts included."""
    found = {flag: knob for knob in flag_knobs(settings).values() for flag in option_strings(knob)}
    for each in parts_of(settings).values():
        found |= flags_of(each.kind)
    return found


def option_strings(knob: Knob) -> list[str]:
    return [f"--{name}" for name in (knob.flag_name, *knob.aliases)]


def refuse_flags(parser: Flags, sentences: Mapping[str, str]) -> None:
    """Flags that belong to related commands: whoever types one gets this sentence as the error."""
    for flag, sentence in sentences.items():
        parser.add_argument(
            flag, action=_Refused, sentence=sentence, nargs="*", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


class _Refused(argparse.Action):
    def __init__(self, *args: Any, sentence: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sentence = sentence

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        parser.error(self.sentence)


def _add(parser: Flags, knob: Knob, default: Any) -> None:
    options: dict[str, Any] = {"dest": knob.name, "default": argparse.SUPPRESS, "help": _help(knob, default)}
    if default is REQUIRED:
        options["required"] = True
    if knob.kind is bool:
        action = argparse.BooleanOptionalAction if knob.default is True else "store_true"
        parser.add_argument(*option_strings(knob), action=action, **options)
        return
    if knob.many:
        options |= {"action": "append"} if knob.many == "append" else {"nargs": "+" if knob.many is True else knob.many}
    if knob.choices and knob.parse is None:
        options["choices"] = knob.choices
    if knob.metavar:
        options["metavar"] = knob.metavar
    elif not knob.choices:
        known: dict[Any, str] = {int: "N", float: "X", Path: "FOLDER", size: "HxW"}
        options["metavar"] = known.get(knob.parse or knob.kind, "TEXT")
    parser.add_argument(*option_strings(knob), type=_parser_of(knob), **options)


def number(kind: type, minimum: float, maximum: float) -> Callable[[str], Any]:
    """The `type` of a flag that is no knob: an int or a float in this range."""
    return _parser_of(Knob("", minimum, maximum, name="value", kind=kind))


def size(text: str) -> tuple[int, int]:
    """'320x512' → height 320, width 512."""
    match = re.fullmatch(r"(\d+)[x×](\d+)", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; write HEIGHTxWIDTH, as 320x512")
    sides = int(match[1]), int(match[2])
    for side in sides:
        if not 8 <= side <= MAX_SIDE or side % 8:
            raise argparse.ArgumentTypeError(
                f"height and width must be divisible by 8, from 8 to {MAX_SIDE}, not {side}"
            )
    return sides


def _parser_of(knob: Knob) -> Callable[[str], Any]:
    if knob.parse is not None:
        return knob.parse
    if knob.choices:
        return str
    if knob.kind not in (int, float):
        return knob.kind

    def parse(text: str) -> float:
        try:
            value = knob.kind(text)
        except ValueError:
            whole = " whole" if knob.kind is int else ""
            raise argparse.ArgumentTypeError(f"'{text}' is no{whole} number") from None
        try:
            knob.check(value)
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
        return value

    return parse


def _help(knob: Knob, default: Any) -> str:
    """The knob's help with its range, if that is short, and its default."""
    notes = []
    high = MAX_SHOWN + 1 if knob.maximum is None or knob.minimum is None else knob.maximum
    if knob.kind in (int, float) and high <= MAX_SHOWN:
        notes.append(knob.range_words)
    words = knob.unset if default is None else _words(default)
    if words:
        notes.append(f"default: {words}")
    repeatable = " Repeatable." if knob.many == "append" else ""
    return (knob.help + repeatable + (f" ({'; '.join(notes)})" if notes else "")).replace("%", "%%")


def _words(default: Any) -> str:
    """A default as the user would type it; nothing for flags that are off, or have none."""
    if default is False or default is REQUIRED:
        return ""
    values: Sequence[Any] = default if isinstance(default, tuple) else (default,)
    return " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def for_each(args: argparse.Namespace, option: str, of: str, called: str) -> list[str]:
    """One value of an option for each value of the option `of`: the single one given for all, or one each."""
    given, count = getattr(args, option), len(getattr(args, of))
    if len(given) in (0, 1):
        return (given or [""]) * count
    if len(given) != count:
        name = f"--{option.replace('_', '-')}"
        raise UsageError(f"{name} is given {len(given)} times for {count} {called}: give it once, or once for each.")
    return given
