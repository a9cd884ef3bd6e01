"""Video files and image sequences: reading and writing them, with their settings inside."""

from .metadata import read_metadata
from .read import VideoClip, VideoInfo, count_frames, iter_video, probe_video, read_video
from .write import VideoWriter, check_writable, write_video

__all__ = [
    "VideoClip",
    "VideoInfo",
    "VideoWriter",
    "check_writable",
    "count_frames",
    "iter_video",
    "probe_video",
    "read_metadata",
    "read_video",
    "write_video",
]
