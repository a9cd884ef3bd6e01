"""How each stage of LaVie learns, for the one training loop."""

from ...renamed import old_names
from .base import Base
from .denoiser import Denoiser
from .extension import Extension
from .interpolation import Interpolation
from .parts import StageNetworks
from .stage import DenoisingStage
from .upscaler import Upscaler

STAGES: dict[str, type[DenoisingStage]] = {stage.name: stage for stage in (Base, Interpolation, Upscaler, Extension)}

__all__ = ["STAGES", "Base", "Denoiser", "DenoisingStage", "Extension", "Interpolation", "StageNetworks", "Upscaler"]

__getattr__ = old_names(__name__)
