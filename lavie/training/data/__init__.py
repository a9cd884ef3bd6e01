"""Everything that turns files into examples for training."""

from ...renamed import old_names
from .clip import Clip, ClipRequest, UnreadableClip
from .dataset import Example, Skipped, TrainingData
from .filters import DataReport, Filters
from .folder import ImageFolder, VideoFolder
from .handheld import Handheld
from .mixture import Mixture
from .opening import check_spec, open_source
from .precomputed import Precomputed, write_precomputed
from .shards import Shards
from .source import ClipSource
from .table import ImageTable, VideoTable

__all__ = [
    "Clip",
    "ClipRequest",
    "ClipSource",
    "DataReport",
    "Example",
    "Filters",
    "Handheld",
    "ImageFolder",
    "ImageTable",
    "Mixture",
    "Precomputed",
    "Shards",
    "Skipped",
    "TrainingData",
    "UnreadableClip",
    "VideoFolder",
    "VideoTable",
    "check_spec",
    "open_source",
    "write_precomputed",
]

__getattr__ = old_names(__name__)
