"""LaVie: text to video by a cascade of latent diffusion models.

from lavie import CascadePipeline

video = CascadePipeline.from_pretrained("lavie-tiny")("a red ball moving left over green grass")
video.frames  # uint8 [frames, height, width, 3]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import Cancelled, LavieError, UsageError

if TYPE_CHECKING:
    from .pipelines import (
        CascadePipeline,
        ExtensionPipeline,
        InterpolationPipeline,
        LongVideoPipeline,
        TextToVideoPipeline,
        TransitionPipeline,
        UpscalePipeline,
        VideoOutput,
    )

    __version__: str

__all__ = [
    "Cancelled",
    "CascadePipeline",
    "ExtensionPipeline",
    "InterpolationPipeline",
    "LavieError",
    "LongVideoPipeline",
    "TextToVideoPipeline",
    "TransitionPipeline",
    "UpscalePipeline",
    "UsageError",
    "VideoOutput",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Pipelines and the version are looked up when they are asked for: `import lavie` itself loads no torch."""
    if name == "__version__":
        return import_module(".version", __name__).version()
    if name in __all__:
        return getattr(import_module(".pipelines", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
