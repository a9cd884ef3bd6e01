"""How much what is not exact changes the image, as measured by benchmarks/memory_changes.py."""

from __future__ import annotations

# PSNR in dB to the same video of lavie-tiny without the measure, by its size: windows in frames of the stage's input,
# tiles in pixels of it, tiles of the VAE in latent pixels.
_MEASURED = {
    "interpolation window": {8: 48, 4: 43, 2: 42},
    "upscaler window": {8: 54, 4: 51, 2: 47},
    "upscaler tile": {48: 43, 32: 40},
    "VAE tile": {64: 42, 32: 41},
}


def how_much(measure: str, size: int) -> str:
    """A clause: by how much a measure such as "VAE tile" of a size changes the result; that of the next smaller size
    measured, else of the smallest."""
    by_size = _MEASURED[measure]
    nearest = max((each for each in by_size if each <= size), default=min(by_size))
    return f"changes the result ({by_size[nearest]} dB PSNR to the result without, measured with lavie-tiny)"
