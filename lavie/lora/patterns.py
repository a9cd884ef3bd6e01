"""The patterns of PEFT's alpha_pattern: names of layers, or ends of them, matched in linear time.

PEFT reads them as regular expressions. LaVie understands what people write in practice: a name, ".*" for anything, "|"
between alternatives, "^" and "$".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..bounded import MAX_PATTERNS

_NAME = re.compile(r"[\w.-]*(?:\.\*[\w.-]*)*", re.ASCII)
_ANYTHING = ".*"


class LayerPatterns:
    """Values by pattern; the first pattern that fits a layer counts.

    Raises:
        ValueError: a pattern beyond names, ".*" and "|", or too many with ".*".
        AttributeError, TypeError: not a mapping of patterns.
    """

    def __init__(self, patterns: Mapping[str, Any]) -> None:
        self._values = list(patterns.values())
        self._names: dict[str, int] = {}  # place in _values, by the end of a layer's name
        self._wild: list[tuple[int, list[str], bool]] = []  # place, pieces, whether the layer begins with it
        for place, pattern in enumerate(patterns):
            for part in pattern.split("|"):
                self._add(place, part.replace("\\.", ".").removesuffix("$"))
        if len(self._wild) > MAX_PATTERNS:
            raise ValueError(f"{len(self._wild)} patterns with {_ANYTHING}")

    def _add(self, place: int, pattern: str) -> None:
        whole, pattern = pattern.startswith("^"), pattern.removeprefix("^")
        if not _NAME.fullmatch(pattern):
            raise ValueError(f"the pattern '{pattern[:60]}'")
        if _ANYTHING in pattern or whole:
            self._wild.append((place, pattern.split(_ANYTHING), whole))
        else:
            self._names.setdefault(pattern, place)

    def find(self, layer: str, otherwise: Any) -> Any:
        """The value for a layer's name."""
        ends = [layer, *(layer[dot.end() :] for dot in re.finditer(r"\.", layer))]
        places = [self._names[end] for end in ends if end in self._names]
        places += [place for place, pieces, whole in self._wild if _fits(layer, pieces, whole)]
        return self._values[min(places)] if places else otherwise


def _fits(layer: str, pieces: list[str], whole: bool) -> bool:
    """Whether the pieces follow one another to the end of the name, from its beginning or, unless `whole`, after a
    dot."""
    if len(pieces) == 1:
        return layer == pieces[0]
    place = 0 if layer.startswith(pieces[0]) else -1 if whole else layer.find(f".{pieces[0]}") + 1
    if place < 0 or (place == 0 and not layer.startswith(pieces[0])):
        return False
    place += len(pieces[0])
    for piece in pieces[1:-1]:
        place = layer.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return layer.endswith(pieces[-1]) and place <= len(layer) - len(pieces[-1])
