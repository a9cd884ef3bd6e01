"""Types of command-line arguments with their ranges, for argparse's `type`."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable

from .config import MAX_SIDE


def whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from None
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be between {least} and {most}, not {number}")
        return number

    return parse


def real_number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is no number") from None
        if not math.isfinite(number) or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be between {least:g} and {most:g}, not {text}")
        return number

    return parse


guidance_scale = real_number(0, 100)
repaint_strength = real_number(0.01, 1)
frame_rate = real_number(0.01, 1000)


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
