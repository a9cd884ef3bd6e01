"""Video files and image sequences: reading and writing them, with their settings inside."""

from .metadata import read_metadata
from .overlap import parts_of, refuse_to_replace
from .read import VideoClip, VideoInfo, count_frames, iter_video, probe_video, read_video
from .sound import Sound, carried_sound, find_sound
from .write import VideoWriter, check_frame_rate, check_writable, write_video, writing

__all__ = [
    "Sound",
    "VideoClip",
    "VideoInfo",
    "VideoWriter",
    "carried_sound",
    "check_frame_rate",
    "check_writable",
    "count_frames",
    "find_sound",
    "iter_video",
    "parts_of",
    "probe_video",
    "read_metadata",
    "read_video",
    "refuse_to_replace",
    "write_video",
    "writing",
]
