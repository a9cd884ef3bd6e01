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
        minimum=1,
        maximum=64,
        off=0,
        flag="context",
        metavar="N",
    )
    resample: int = knob(
        1,
        "Above 1, takes every step that many times, so that new frames fit the given ones better. Slower.",
        minimum=1,
        maximum=20,
        metavar="N",
    )
    drift_correction: float = knob(
        0.0,
        "How far to pull colours, contrast and sharpness of later clips back to the first clip's.",
        minimum=0,
        maximum=1,
        step=0.05,
        metavar="X",
    )
    anchor: float = knob(
        0.0,
        "Above 0, holds later clips to the first frame's colours and layout; the higher, the longer.",
        minimum=0,
        maximum=1,
        step=0.05,
        metavar="X",
    )
    seam_frames: int = knob(
        4,
        "Frames over which a clip's jump from the one before fades out. 0 keeps the jump.",
        minimum=0,
        maximum=64,
        metavar="N",
    )
    motion_injection: bool = knob(False, "Later prompts change what happens; the first one keeps the look.")
    partitions: int = knob(
        4, "Length of the queue in clips. More are steadier and slower.", minimum=1, maximum=64, metavar="N"
    )
    lookahead: bool = knob(True, "Frames in the queue see cleaner ones before them: better, but twice as slow.")
    motion: float = knob(
        0.0,
        "Above 0, frames differ more from each other. 1 to 5 is a lot.",
        minimum=0,
        maximum=20,
        step=0.1,
        metavar="X",
    )
    free_init_iterations: int = knob(
        1,
        "Above 1, makes the video that many times, each time from calmer noise. Steadier, and that much slower.",
        minimum=1,
        maximum=10,
        metavar="N",
    )
    transition: int = knob(
        0,
        "Frames over which one prompt turns into the next.",
        minimum=0,
        maximum=MAX_FRAMES,
        metavar="N",
        front_ends=("flag",),
    )


ALL_HAVE = ("motion", "free_init_iterations", "transition")
