"""The settings of long-video methods, besides those of the stage."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import MAX_FRAMES
from ..knobs import knob


@dataclass(frozen=True)
class LongVideoSettings:
    """The settings of all methods. `METHODS` says which ones a method has, `ALL_HAVE` which ones every method has."""

    context_frames: int = knob(
        0,
        "How many frames neighbouring clips or windows share.",
        (1, 64),
        off=0,
        flag="context",
        advanced=True,
    )
    resample: int = knob(
        1,
        "Above 1, takes every step that many times, so that new frames fit the given ones better. Slower.",
        (1, 20),
        advanced=True,
    )
    drift_correction: float = knob(
        0.0,
        "How far to pull colours, contrast and sharpness of later clips back to the first clip's.",
        (0, 1),
        step=0.05,
        advanced=True,
    )
    anchor: float = knob(
        0.0,
        "Above 0, holds later clips to the first frame's colours and layout; the higher, the longer.",
        (0, 1),
        step=0.05,
        advanced=True,
    )
    seam_frames: int = knob(
        4,
        "Frames over which a clip's jump from the one before fades out. 0 keeps the jump.",
        (0, 64),
        advanced=True,
    )
    motion_injection: bool = knob(
        False, "Later prompts change what happens; the first one keeps the look.", advanced=True
    )
    partitions: int = knob(4, "Length of the queue in clips. More are steadier and slower.", (1, 64), advanced=True)
    lookahead: bool = knob(
        True, "Frames in the queue see cleaner ones before them: better, but twice as slow.", advanced=True
    )
    motion: float = knob(
        0.0, "Above 0, frames differ more from each other. 1 to 5 is a lot.", (0, 20), step=0.1, advanced=True
    )
    free_init_iterations: int = knob(
        1,
        "Above 1, makes the video that many times, each time from calmer noise. Steadier, and that much slower.",
        (1, 10),
        advanced=True,
    )
    transition: int = knob(
        0, "Frames over which one prompt turns into the next.", (0, MAX_FRAMES), front_ends=("flag",)
    )


ALL_HAVE = ("motion", "free_init_iterations", "transition")
