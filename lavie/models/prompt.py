"""The prompt syntax of ComfyUI, `(word:1.3)`, and the division of long prompts into chunks."""

from __future__ import annotations

import re
from typing import NamedTuple

EMPHASIS = 1.1  # of a pair of parentheses without a number
LARGEST_WEIGHT = 100.0  # either way; keeps every embedding finite
LOOK_BACK = 20  # tokens in which a chunk looks for a comma to end at, or else the end of a word

_MARK = re.compile(r"(\\?[()])")
_NUMBER = re.compile(r":\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\Z", re.ASCII)


class Token(NamedTuple):
    """A token of a prompt: its number, its text in the vocabulary (`red</w>`), and its weight."""

    id: int
    piece: str
    weight: float


def parse_weights(prompt: str) -> list[tuple[str, float]]:
    """Divides a prompt into pieces of text and their weights.

    `(word)` weighs 1.1 times as much as what surrounds it, `(word:1.3)` weighs 1.3 wherever it stands, `\\(` and
    `\\)` are plain parentheses. An unpaired parenthesis is plain text, and so is what follows a colon if it is not a
    decimal number. Weights beyond ±100 count as ±100. No text is an error.
    """
    parts = _MARK.split(prompt)  # text at even places, marks at odd ones
    partners = _partners(parts)
    closings = set(partners.values())
    explicit = _take_numbers(parts, partners)
    pieces, weights, text = [], [1.0], ""
    for place, part in enumerate(parts):
        if place in partners or place in closings:
            pieces.append((text, weights[-1]))
            text = ""
        if place in partners:
            weights.append(explicit.get(place, min(weights[-1] * EMPHASIS, LARGEST_WEIGHT)))
        elif place in closings:
            weights.pop()
        else:
            text += part[-1] if place % 2 else part
    pieces.append((text, weights[-1]))
    return [piece for piece in pieces if piece[0]]


def split_chunks(tokens: list[Token], size: int) -> list[list[Token]]:
    """Chunks of at most `size` tokens, one at least; a chunk ends after a comma or a whole word if one is near."""
    chunks = []
    while len(tokens) > size:
        end = _end_of_chunk(tokens[:size])
        chunks.append(tokens[:end])
        tokens = tokens[end:]
    return [*chunks, tokens]


def _partners(parts: list[str]) -> dict[int, int]:
    """The places of the opening marks that are closed, with those of their closing marks."""
    partners, opened = {}, []
    for place, part in enumerate(parts):
        if place % 2 and part == "(":
            opened.append(place)
        elif place % 2 and part == ")" and opened:
            partners[opened.pop()] = place
    return partners


def _take_numbers(parts: list[str], partners: dict[int, int]) -> dict[int, float]:
    """Cuts `:1.3` out of the text before closing marks; the weights by the place of the opening mark."""
    weights = {}
    for opening, closing in partners.items():
        number = _NUMBER.search(parts[closing - 1])
        if number and (number.start() > 0 or closing - 2 > opening):
            weights[opening] = max(-LARGEST_WEIGHT, min(float(number[1]), LARGEST_WEIGHT))
            parts[closing - 1] = parts[closing - 1][: number.start()]
    return weights


def _end_of_chunk(tokens: list[Token]) -> int:
    last = len(tokens)
    for ending in (",</w>", "</w>"):
        for end in range(last, max(last - LOOK_BACK, 0), -1):
            if tokens[end - 1].piece.endswith(ending):
                return end
    return last
