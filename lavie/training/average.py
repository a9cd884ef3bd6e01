"""The moving average of the trained weights, used for samples and for the finished model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Average:
    """diffusers' EMAModel over a model's trainable parameters; with decay 0 it is the model itself.

    The first steps count more, by diffusers' warm-up (1 + step) / (10 + step) up to `decay`. Where parameters are
    sharded over processes, every process keeps the average of its own shards.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        from diffusers.training_utils import EMAModel

        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._model = EMAModel(_local(self._parameters), decay=decay, foreach=True) if decay else None

    def step(self) -> None:
        if self._model is not None:
            self._model.step(_local(self._parameters))

    def copy_to_model(self) -> None:
        """Give the model the averaged weights for good."""
        if self._model is not None:
            self._model.copy_to(_local(self._parameters))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block, the model has the averaged weights."""
        if self._model is None:
            yield
            return
        parameters = _local(self._parameters)
        kept = [parameter.detach().clone() for parameter in parameters]
        self.copy_to_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(parameters, kept, strict=True):
                    parameter.copy_(value)

    def save(self, file: Path) -> None:
        if self._model is not None:
            torch.save(self._model.state_dict(), file)

    def load(self, file: Path) -> None:
        if self._model is not None:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            devices = [parameter.device for parameter in _local(self._parameters)]
            pairs = zip(state["shadow_params"], devices, strict=True)
            state["shadow_params"] = [shadow.to(device) for shadow, device in pairs]
            self._model.load_state_dict(state | {"decay": self._model.decay})


def _local(parameters: Iterable[Any]) -> list[Any]:
    """This process's shards of sharded parameters (tensors that share memory with them), others as they are."""
    return [parameter.to_local() if hasattr(parameter, "to_local") else parameter for parameter in parameters]
