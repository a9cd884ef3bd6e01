"""The lab: the painted world of lavie-tiny, how its networks are made, and how they are judged.

It is part of a clone only. `lavie` knows nothing about it; `register` adds what the lab has:

    python -m lab train …       as `lavie train`, with rendered clips and fresh weights
    python -m lab evaluate …    as `lavie evaluate`, with the suites on rendered clips
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lavie.evaluation.suites import register_suite
from lavie.evaluation.true_clips import TrueClips, register_default_clips
from lavie.training.registry import FreshNetworks, register_fresh_networks, register_source

if TYPE_CHECKING:
    from lavie.models import VideoUNet
    from lavie.models.text_encoder import TextEncoder
    from lavie.training.data import ClipSource

SOURCES = ("world", "world-courses", "world-stills")


def register() -> None:
    """Make the lab's sources, networks and suites known to the commands of `lavie`, in this process."""
    from .suites import SUITES

    for kind in SOURCES:
        register_source(kind, _open_world)
    register_fresh_networks(FreshNetworks(_fresh_unet, _fresh_text_encoder))
    for name, suite in SUITES.items():
        register_suite(name, suite)
    register_default_clips(_held_out_clips)


def _open_world(spec: str) -> tuple[ClipSource, bool]:
    from .training.data import open_world

    return open_world(spec)


def _fresh_unet(stage: str) -> VideoUNet:
    from .architecture import new_unet

    return new_unet(stage)


def _fresh_text_encoder(family: Path) -> TextEncoder:
    from .architecture import fresh_text_encoder

    return fresh_text_encoder(family)


def _held_out_clips(count: int, seed: int) -> TrueClips:
    from .measures.held_out import HeldOutClips

    return HeldOutClips(count, seed)
