"""Public names of version 0.1.0 that have changed since. They work until version 0.3, with a DeprecationWarning.

Public means exported by a package's `__all__`, set on a pipeline, or shown in the docs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

# Where a name was: the name, and where it is now. Modules are relative to the package, which can have any name.
NAMES = {
    "checkpoints": {"STAGES": "stages.STAGES"},
    "sampling": {
        "SCHEDULERS": "schedulers.SCHEDULERS",
        "SPACINGS": "schedulers.SPACINGS",
        "fifo": "long_video.fifo.fifo",
        "injected": "long_video.motion_injection.injected",
        "livelier": "sampling.motion.motion_bias",
        "shuffled_noise": "long_video.free_noise.shuffled_noise",
        "spectral_blend": "long_video.free_long.spectral_blend",
        "windowed": "long_video.free_noise.windowed",
    },
    "training.data": {"Source": "training.data.ClipSource"},
    "training.stages": {"Parts": "training.stages.StageNetworks"},
}


def old_names(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that finds its names of version 0.1.0.

    Raises:
        AttributeError: the module never had the name.
    """
    names = NAMES[module.removeprefix(f"{__package__}.")]

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        where, new = names[name].rsplit(".", 1)
        _warn(f"{module}.{name}", f"{__package__}.{where}.{new}")
        return getattr(import_module(f".{where}", __package__), new)

    return find


def old_attribute(old: str, new: str) -> property:
    """The attribute `new` under its name of version 0.1.0."""

    def read(self: Any) -> Any:
        _warn(old, new)
        return getattr(self, new)

    def write(self: Any, value: Any) -> None:
        _warn(old, new)
        setattr(self, new, value)

    return property(read, write)


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}; the old name goes with version 0.3.", DeprecationWarning, stacklevel=3)
