"""LoRAs trained on a few images: a subject or a style for a base that is there.

What a front end needs to ask for one stands here; what trains it is imported when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..packages import check_packages
from ..settings import LoopSettings
from .settings import PRIOR_IMAGES, LoraSettings

if TYPE_CHECKING:
    from .data import CaptionedImage, captioned_image, with_trigger
    from .job import Events, LoraJob
    from .train import LoraResult, train_lora

_WHERE = {
    "Events": "job",
    "LoraJob": "job",
    "LoraResult": "train",
    "CaptionedImage": "data",
    "captioned_image": "data",
    "train_lora": "train",
    "with_trigger": "data",
}
__all__ = [
    "PRIOR_IMAGES",
    "CaptionedImage",
    "Events",
    "LoopSettings",
    "LoraJob",
    "LoraResult",
    "LoraSettings",
    "captioned_image",
    "check_packages",
    "train_lora",
    "with_trigger",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
