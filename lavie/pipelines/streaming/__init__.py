"""Long videos, segment by segment, from disk to disk: constant memory, and a stop loses little."""

from .film import stream_video
from .run import Streamable
from .segments import Cut

__all__ = ["Cut", "Streamable", "stream_video"]
