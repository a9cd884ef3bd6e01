"""Reads pickles without running anything.

A pickle is a program for a small machine with a stack. Here its instructions build dictionaries, lists and tuples; the
functions and classes that it names stay names, and what it would have them make stays a note of that.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .bounded import MAX_INSTRUCTIONS


class Refused(Exception):  # noqa: N818 (it says what happened to the file)
    """The pickle names a function or class that is not allowed: `name`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, eq=False)
class Named:
    """A function or class, not imported: "collections.OrderedDict"."""

    name: str


@dataclass(eq=False)
class Made:
    """A call of a function or class that the pickle asks for; it was not made."""

    by: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, eq=False)
class Outside:
    """Something outside the pickle, as the pickle describes it: a storage of numbers."""

    reference: Any


def read_pickle(file: Any, allowed: Callable[[str], bool], outside: list[Outside] | None = None) -> Any:
    """The content of the next pickle in an open binary file (or memory map), which is left at the end of that pickle.

    Args:
        file: has read, readline and tell.
        allowed: tells whether a function or class may be named.
        outside: gets what lies outside the pickle.

    Raises:
        Refused: one that may not be named.
        Exception: anything, where the pickle is damaged, or longer than a checkpoint's.
    """
    machine = _Machine(allowed, [] if outside is None else outside)
    for count, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        if count >= MAX_INSTRUCTIONS:
            raise ValueError("its pickle is too long")
        if instruction.name == "STOP":
            break
        machine.run(instruction.name, argument)
    return machine.stack.pop()


_MARK = object()
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
_SEQUENCES = {"LIST": list, "TUPLE": tuple, "FROZENSET": frozenset}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The stack, and the memo of what may be used again."""

    def __init__(self, allowed: Callable[[str], bool], outside: list[Outside]) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._allowed, self._outside = allowed, outside

    def run(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            parts = [self.stack.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(parts)))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self._memo[argument])
        elif name in _SEQUENCES:
            items = self._to_mark()
            self.stack.append(_SEQUENCES[name](items if name != "FROZENSET" else map(_key, items)))
        elif name not in ("PROTO", "FRAME"):
            self._steps[name](self, argument)

    def _to_mark(self) -> list[Any]:
        """Everything put on the stack since the last mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("its pickle lacks a mark")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def _name(self, name: str) -> None:
        if not self._allowed(name):
            raise Refused(name)
        self.stack.append(Named(name))

    def _name_of_stack(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self._name(f"{module}.{name}")

    def _refer(self, _: Any) -> None:
        self._outside.append(Outside(self.stack.pop()))
        self.stack.append(self._outside[-1])

    def _call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise TypeError("its pickle calls what is no function")
        if function.name == "collections.OrderedDict":
            self.stack.append({_key(key): value for key, value in (arguments[0] if arguments else ())})
        elif function.name.startswith("torch._utils._rebuild_parameter"):
            self.stack.append(arguments[0])
        else:
            self.stack.append(Made(function.name, arguments))

    def _call_with_names(self, _: Any) -> None:
        named = self.stack.pop()
        arguments, function = self.stack.pop(), self.stack.pop()
        self.stack.append(Made(function.name, (*arguments, named)))

    def _set_state(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def _append(self, _: Any) -> None:
        value = self.stack.pop()
        self.stack[-1].append(value)

    def _append_all(self, _: Any) -> None:
        items = self._to_mark()
        self.stack[-1].extend(items)

    def _add_all(self, _: Any) -> None:
        items = self._to_mark()
        self.stack[-1].update(map(_key, items))

    def _set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update(self.stack[-1], [key, value])

    def _set_items(self, _: Any) -> None:
        items = self._to_mark()
        self._update(self.stack[-1], items)

    def _dictionary(self, _: Any) -> None:
        items = self._to_mark()
        self.stack.append({})
        self._update(self.stack[-1], items)

    def _update(self, target: Any, items: list[Any]) -> None:
        if isinstance(target, Made):  # a subclass of dict
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    _steps: dict[str, Callable[[_Machine, Any], object]] = {  # noqa: RUF012
        "MARK": lambda self, _: self.stack.append(_MARK),
        "POP": lambda self, _: self.stack.pop(),
        "POP_MARK": lambda self, _: self._to_mark(),
        "DUP": lambda self, _: self.stack.append(self.stack[-1]),
        "MEMOIZE": lambda self, _: self._memo.__setitem__(len(self._memo), self.stack[-1]),
        "GLOBAL": lambda self, argument: self._name(argument.replace(" ", ".", 1)),
        "BINPERSID": _refer,
        "STACK_GLOBAL": _name_of_stack,
        "REDUCE": _call,
        "NEWOBJ": _call,
        "NEWOBJ_EX": _call_with_names,
        "BUILD": _set_state,
        "APPEND": _append,
        "APPENDS": _append_all,
        "ADDITEMS": _add_all,
        "SETITEM": _set_item,
        "SETITEMS": _set_items,
        "DICT": _dictionary,
    }


def _key(key: Any) -> Any:
    """A key of a dictionary or set: no tuple of tuples, as hashing those can take forever."""
    if isinstance(key, tuple) and any(isinstance(part, tuple | frozenset) for part in key):
        raise TypeError("its pickle has keys within keys")
    return key
