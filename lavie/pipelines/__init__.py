"""The pipelines: LaVie's stages, alone and in a cascade. Prompts and frames in, frames out."""

from ..job import Callback
from .cascade import CascadePipeline
from .extension import ExtensionPipeline
from .interpolate import InterpolationPipeline
from .long_video import LongVideoPipeline
from .output import StreamedVideo, VideoOutput
from .streaming import stream_video
from .text_to_video import TextToVideoPipeline
from .transition import TransitionPipeline
from .upscale import UpscalePipeline

__all__ = [
    "Callback",
    "CascadePipeline",
    "ExtensionPipeline",
    "InterpolationPipeline",
    "LongVideoPipeline",
    "StreamedVideo",
    "TextToVideoPipeline",
    "TransitionPipeline",
    "UpscalePipeline",
    "VideoOutput",
    "stream_video",
]
