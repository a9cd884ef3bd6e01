"""The networks: video UNets, text encoders and VAEs."""

from .config import UNetConfig
from .unet import VideoUNet, build_unet, to_channels_last

__all__ = ["UNetConfig", "VideoUNet", "build_unet", "to_channels_last"]
