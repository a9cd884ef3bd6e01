"""The strength of a LoRA per block of the UNet: early blocks decide the layout, late ones the look.

Blocks have the names and the order of LoRA Block Weight (hako-mikan): IN00 … IN11, MID, OUT00 … OUT11 as in Stable
Diffusion 1.x's own numbering, three to a level, and BASE for the text encoder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import UsageError

_PER_LEVEL = 3  # down: two layers and a change of resolution; up: three layers
_WITH_ATTENTION = (
    *("BASE", "IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "MID"),
    *(f"OUT{number:02}" for number in range(3, 12)),
)
_ALL = (
    "BASE",
    *(f"IN{number:02}" for number in range(12)),
    "MID",
    *(f"OUT{number:02}" for number in range(12)),
)
PRESETS = {  # LoRA Block Weight's own
    "NONE": "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "ALL": "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
    "INS": "1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "IND": "1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "INALL": "1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "MIDD": "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0",
    "OUTD": "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0",
    "OUTS": "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1",
    "OUTALL": "1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1",
}
MOST = 20.0
_BLOCK = re.compile(
    r"lora_unet_(?:(down|up)_blocks_(\d+)_(?:(?:attentions|resnets)_(\d+)|(downsamplers|upsamplers))|(mid)_block)"
)
_NAME = re.compile(r"BASE|IN|MID|OUT|OTHER|(?:IN|OUT)\d\d")


@dataclass(frozen=True)
class BlockStrengths:
    """Factors on the strength of a LoRA, per block; `values` by name, see `block_of`.

    "IN" and "OUT" stand for all blocks of their kind, "OTHER" for every block not named (1 unless given).
    """

    values: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> BlockStrengths:
        """A preset ("OUTALL"), names ("IN=0.3, MID=0.5, OUT05=1, OTHER=0"), or a list of 17 or 26 numbers.

        17 numbers are for the text encoder and the blocks with attention (BASE, IN01, IN02, IN04, IN05, IN07, IN08,
        MID, OUT03 … OUT11), 26 for all blocks (BASE, IN00 … IN11, MID, OUT00 … OUT11). "" changes nothing.

        Raises:
            UsageError: none of these, or a number beyond ±20.
        """
        text = PRESETS.get(text.strip().upper(), text).strip()
        if not text:
            return cls()
        entries = [entry.strip() for entry in text.split(",")]
        if any("=" in entry for entry in entries):
            return cls(dict(_named(entry) for entry in entries if entry))
        names = {len(names): names for names in (_WITH_ATTENTION, _ALL)}.get(len(entries))
        if names is None:
            raise UsageError(
                f"'{text}' is not a strength per block: write a preset ({', '.join(PRESETS)}), names such as "
                "'IN=0.3, OUT05=1, OTHER=0', or 17 or 26 numbers."
            )
        values = {name: _number(entry, text) for name, entry in zip(names, entries, strict=True)}
        return cls(values if names is _ALL else {**values, "OTHER": 1.0})

    def of(self, layer: str) -> float:
        """The factor for a layer in kohya's spelling."""
        block = block_of(layer)
        kind = block.rstrip("0123456789")
        return next((self.values[name] for name in (block, kind, "OTHER") if name in self.values), 1.0)


def block_of(layer: str) -> str:
    """BASE for the text encoder, else IN04, MID, OUT11, …; layers outside all blocks belong to IN00 or OUT11.

    The numbers are those of a UNet with two layers per level; smaller networks skip some.
    """
    if layer.startswith("lora_te_"):
        return "BASE"
    found = _BLOCK.match(layer)
    if found is None:
        return "OUT11" if layer.startswith(("lora_unet_conv_out", "lora_unet_conv_norm_out")) else "IN00"
    way, level, place, sampler, middle = found.groups()
    if middle:
        return "MID"
    number = _PER_LEVEL * int(level) + (_PER_LEVEL - 1 if sampler else int(place))
    return f"IN{number + 1:02}" if way == "down" else f"OUT{number:02}"


def _named(entry: str) -> tuple[str, float]:
    name, _, value = (part.strip() for part in entry.partition("="))
    if not _NAME.fullmatch(name.upper()):
        raise UsageError(f"'{name}' is no block of the UNet: write BASE, IN, MID, OUT, OTHER, IN01 or OUT05.")
    return name.upper(), _number(value, entry)


def _number(value: str, where: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise UsageError(f"'{value}' in '{where}' is no number.") from None
    if not math.isfinite(number) or abs(number) > MOST:
        raise UsageError(f"A strength per block must be between -{MOST:g} and {MOST:g}, not {value}.")
    return number
