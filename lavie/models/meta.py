"""Build a network without memory or time for its random initial weights."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class WithoutWeights(TorchFunctionMode):
    """`with WithoutWeights():` builds networks whose parameters are on the meta device, uninitialised.

    Buffers are real. Unlike under `torch.device("meta")`, no initialiser and no arithmetic runs on meta
    tensors, which would load torch's compiler: seconds for every first model of a process.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            return func(*args, **{**kwargs, "device": "meta"})
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
