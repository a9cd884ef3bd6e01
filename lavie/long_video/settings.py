"""What a long video is made with, besides what its stage is told."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import MAX_FRAMES
from ..knobs import knob


@dataclass(frozen=True)
class LongVideoSettings:
    """The settings of all methods; `METHODS` says which of them a method has, `ALL_HAVE` which every one has."""

    context_frames: int = knob(
        0, "Frames that clips or windows share.", least=1, most=64, off=0, flag="context", metavar="N"
    )
    resample: int = knob(
        1,
        "Above 1: every step is done that many times, so that new frames fit the known ones better; slower.",
        least=1,
        most=20,
        metavar="N",
    )
    drift_correction: float = knob(
        0.0,
        "How far colours, contrast and sharpness are drawn back to the first clip's.",
        least=0,
        most=1,
        step=0.05,
        metavar="X",
    )
    anchor: float = knob(
        0.0,
        "Above 0: later clips hold on to the first frame's colours and layout for longer.",
        least=0,
        most=1,
        step=0.05,
        metavar="X",
    )
    seam_frames: int = knob(
        4,
        "Frames over which a clip's jump from the one before fades out. 0: the jump stays.",
        least=0,
        most=64,
        metavar="N",
    )
    motion_injection: bool = knob(False, "Later prompts change what happens, the first one keeps the look.")
    partitions: int = knob(
        4, "Clips that the queue is long: more are steadier, and slower.", least=1, most=64, metavar="N"
    )
    lookahead: bool = knob(True, "Frames in the queue see cleaner ones before them: better, and twice as slow.")
    motion: float = knob(0.0, "Above 0: frames differ more; 1 to 5 is much.", least=0, most=20, step=0.1, metavar="X")
    free_init_iterations: int = knob(
        1,
        "Above 1: made that many times, each time from calmer noise: steadier, and that much slower.",
        least=1,
        most=10,
        metavar="N",
    )
    transition: int = knob(
        0,
        "Frames over which one prompt turns into the next.",
        least=0,
        most=MAX_FRAMES,
        metavar="N",
        front_ends=("flag",),
    )


ALL_HAVE = ("motion", "free_init_iterations", "transition")
