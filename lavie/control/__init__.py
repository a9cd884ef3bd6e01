"""ControlNets and T2I-Adapters for Stable Diffusion 1.x over the frames of a video."""

from .control import Control
from .kinds import KINDS, find_network

__all__ = ["KINDS", "Control", "find_network"]
