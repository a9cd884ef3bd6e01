"""Prompts and frames in, frames out: the stages of LaVie, alone and in a cascade."""

from .cascade import CascadePipeline
from .interpolate import InterpolationPipeline
from .output import Callback, VideoOutput
from .text_to_video import TextToVideoPipeline
from .upscale import UpscalePipeline

__all__ = [
    "Callback",
    "CascadePipeline",
    "InterpolationPipeline",
    "TextToVideoPipeline",
    "UpscalePipeline",
    "VideoOutput",
]
