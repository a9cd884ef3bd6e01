"""Long videos, segment by segment, from disk to disk: constant memory, and a stop loses little."""

from .run import Streamable
from .segments import Cut
from .stream import stream_video

__all__ = ["Cut", "Streamable", "stream_video"]
