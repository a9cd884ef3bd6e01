"""Prompts and frames in, frames out: the stages of LaVie, alone and in a cascade."""

from .cascade import CascadePipeline
from .conditioned_extension import ExtensionPipeline
from .interpolate import InterpolationPipeline
from .output import Callback, StreamedVideo, VideoOutput
from .streaming import stream_video
from .text_to_video import TextToVideoPipeline
from .upscale import UpscalePipeline

__all__ = [
    "Callback",
    "CascadePipeline",
    "ExtensionPipeline",
    "InterpolationPipeline",
    "StreamedVideo",
    "TextToVideoPipeline",
    "UpscalePipeline",
    "VideoOutput",
    "stream_video",
]
