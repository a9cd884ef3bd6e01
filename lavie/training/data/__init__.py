"""Everything that turns files, or the renderer, into examples for training."""

from .clip import Clip, ClipRequest, UnreadableClip
from .dataset import Example, Skipped, TrainingData
from .filters import DataReport, Filters
from .mixture import Mixture
from .precomputed import Precomputed, write_precomputed
from .source import Source
from .synthetic import SyntheticClips, SyntheticStills

__all__ = [
    "Clip",
    "ClipRequest",
    "DataReport",
    "Example",
    "Filters",
    "Mixture",
    "Precomputed",
    "Skipped",
    "Source",
    "SyntheticClips",
    "SyntheticStills",
    "TrainingData",
    "UnreadableClip",
    "write_precomputed",
]
