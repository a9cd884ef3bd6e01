"""Long videos, segment by segment, from disk to disk: constant memory, and a stop loses little."""

from .segments import Cut
from .stream import Streamable, stream_video

__all__ = ["Cut", "Streamable", "stream_video"]
