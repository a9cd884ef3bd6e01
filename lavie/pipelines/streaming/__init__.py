"""Long films, segment by segment, from disk to disk: memory stays the same, and a stop loses little."""

from .film import stream_video
from .run import Streamable
from .segments import Cut

__all__ = ["Cut", "Streamable", "stream_video"]
