"""VIDEO: frames, frame rate and sound in one."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from torch import Tensor

from .devices import comfy, required

FINEST = 1001  # denominators of frame rates: that of 23.976, 29.97, …


@dataclass(frozen=True)
class VideoParts:
    """images: IMAGE. frame_rate: per second. audio: AUDIO; None if there is none."""

    images: Tensor
    frame_rate: Fraction
    audio: Any = None


class PlainVideo:
    """What LaVie's nodes need of a VIDEO, for use without ComfyUI."""

    def __init__(self, parts: VideoParts) -> None:
        self._parts = parts

    def get_components(self) -> VideoParts:
        return self._parts


def video_parts(video: Any, fps: float) -> VideoParts:
    """The parts of a VIDEO; those of an IMAGE are its frames, at `fps`."""
    if isinstance(video, Tensor):
        return VideoParts(video, Fraction(fps).limit_denominator(FINEST))
    parts = video.get_components()
    return VideoParts(parts.images, Fraction(parts.frame_rate), parts.audio)


def make_video(images: Tensor, frame_rate: Fraction, audio: Any = None) -> Any:
    """A VIDEO, which refers to the images, and copies nothing. audio: AUDIO; the host cuts it at the video's end."""
    parts = VideoParts(images, frame_rate, audio)
    if comfy("comfy_api.input_impl") is None:
        return PlainVideo(parts)
    components = required("comfy_api.util").VideoComponents(images=images, audio=audio, frame_rate=frame_rate)
    return required("comfy_api.input_impl").VideoFromComponents(components)
