"""What to try when memory runs out: exact means first, then means that change the result, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..config import StageConfig
from ..stages import StageSpec
from .changes import how_much

SMALLEST_WINDOW = 2
SMALLEST_TILE = 32
SLICE_ELEMENTS = 2**22  # 8 MB in float16: an eighth of what one frame of the upscaler has at its largest


@dataclass(frozen=True)
class Attempt:
    """Settings to sample with. `sequential_guidance`: the two halves of the guidance one after the other. `sliced`:
    the UNet in slices. `note`: what is changed; empty if nothing."""

    config: StageConfig
    sequential_guidance: bool
    sliced: bool
    note: str


def attempts(config: StageConfig, stage: StageSpec, num_frames: int, height: int, width: int) -> Iterator[Attempt]:
    """The request, then attempts that need less and less memory, each on top of the one before.

    Args:
        num_frames: of the stage's input (key frames for interpolation).
        height, width: of its input in pixels; they matter for a stage that works in tiles.
    """
    yield Attempt(config, False, False, "")
    guided = config.guidance_scale != 1
    if guided:
        note = "The two halves of the guidance are computed in turn; the result stays the same."
        yield Attempt(config, True, False, note)
    yield Attempt(config, guided, True, "The network works in slices; the result stays the same.")
    window = _halved(min(config.window or num_frames, num_frames), SMALLEST_WINDOW) if stage.windowed else None
    if window:
        overlap = min(max(1, config.overlap // 2), window - 1)
        config = config.replaced(window=window, overlap=overlap)
        note = f"Windows of {window} frames, {overlap} shared; this {how_much(f'{stage.name} window', window)}."
        yield Attempt(config, guided, True, note)
    side = max(height, width)
    tile = _halved(min(config.tile or side, side), SMALLEST_TILE) if stage.tiled else None
    if tile:
        overlap = min(config.tile_overlap or tile // 4, tile // 2)
        config = config.replaced(tile=tile, tile_overlap=overlap)
        note = f"Tiles of {tile} pixels, {overlap} shared; this {how_much(f'{stage.name} tile', tile)}."
        yield Attempt(config, guided, True, note)


def _halved(size: int, least: int) -> int | None:
    """Half of it, rounded up, or None if that would be too small to help."""
    half = -(-size // 2)
    return half if least <= half < size else None
