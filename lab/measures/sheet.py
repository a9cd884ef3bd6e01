"""Sheets to look at: a row of frames for each video, side by side in columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def sheet(clips: Sequence[np.ndarray], frames: int = 4, columns: int = 2, scale: int = 2) -> Image.Image:
    """Evenly spaced frames of clips, uint8 [f, h, w, 3] each; every clip one row in one of the columns."""
    rows = []
    for clip in clips:
        chosen = np.linspace(0, len(clip) - 1, frames).round().astype(int) if len(clip) > 1 else [0]
        rows.append(np.concatenate([clip[i] for i in chosen], axis=1))
    rows += [np.zeros_like(rows[0])] * (-len(rows) % columns)
    each = len(rows) // columns
    image = np.concatenate([np.concatenate(rows[c * each : (c + 1) * each], axis=0) for c in range(columns)], axis=1)
    image = Image.fromarray(image)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
