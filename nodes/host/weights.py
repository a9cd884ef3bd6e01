"""Weights that nodes put on a MODEL or a CLIP: those that do not fit are refused, where the host only logs an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ...lavie.errors import LavieError

MADE_FOR = (
    "A LoRA must be made for Stable Diffusion 1.x (lavie-tiny takes only its own), and a merge needs two LaVie MODELs "
    "of the same stage."
)


def refusing(patcher_class: type) -> type:
    """The same kind of ModelPatcher, which checks patches of weights before it takes them."""

    class RefusingPatcher(patcher_class):
        def add_patches(self, patches: Mapping, *strengths: float, **more: Any) -> list:
            require_fitting(self, patches)
            return super().add_patches(patches, *strengths, **more)

        def add_hook_patches(self, hook: Any, patches: Mapping, *strengths: float, **more: Any) -> list:
            require_fitting(self, patches)
            return super().add_hook_patches(hook, patches, *strengths, **more)

    return RefusingPatcher


def require_fitting(patcher: Any, patches: Mapping) -> None:
    """Check patches of weights, as `comfy.lora.load_lora` makes them.

    Raises:
        LavieError: there are none, they are for layers that this network does not have, or of other sizes.
    """
    names = {key: key if isinstance(key, str) else key[0] for key in patches}
    weights = {key: _weight(patcher.model, name) for key, name in names.items()}
    own = {key: weight.shape for key, weight in weights.items() if weight is not None}
    nothing = not patches and hasattr(patcher.model, "diffusion_model")  # many a LoRA leaves the text encoder alone
    if nothing or (not own and any(_foreign(patcher.model, name) for name in names.values())):
        raise LavieError(f"These weights fit no layer of LaVie. {MADE_FOR}")
    if not all(_fits(patches[key], key, shape) for key, shape in own.items()):
        raise LavieError(f"These weights have other sizes than this model's. {MADE_FOR}")


def _weight(network: torch.nn.Module, name: str) -> torch.Tensor | None:
    """By its name; a merge asks for one at a time, for which a whole state dict would take seconds."""
    module, _, own = name.rpartition(".")
    try:
        return getattr(network.get_submodule(module), own, None)
    except AttributeError:
        return None


def _foreign(network: Any, name: str) -> bool:
    """Whether a weight belongs to another network of the same kind; a LoRA brings weights for both kinds."""
    root = name.partition(".")[0]
    if hasattr(network, "diffusion_model"):
        return root == "diffusion_model"
    return root != "diffusion_model" and not hasattr(network, root)


def _fits(patch: Any, key: Any, shape: torch.Size) -> bool:
    """Whether a patch of a whole weight has its shape."""
    if not isinstance(key, str):
        return True
    if not hasattr(patch, "calculate_weight"):
        difference = _difference(patch)
        return difference is None or difference.shape == shape
    reached = []  # an adapter hands what it adds to a function at the end; if that cannot be computed, it only logs so

    def added(change: torch.Tensor) -> torch.Tensor:
        reached.append(True)
        return change

    patch.calculate_weight(torch.empty(shape, device="meta"), key, 1.0, 1.0, None, added, torch.float32, None)
    return bool(reached)


def _difference(patch: Any) -> torch.Tensor | None:
    """The tensor that is added to a weight: a merge's [(weight, …), …], or (weight,), or ("diff", (weight, …))."""
    while isinstance(patch, list | tuple) and patch:
        patch = patch[1] if isinstance(patch[0], str) else patch[0]
    return patch if isinstance(patch, torch.Tensor) else None
