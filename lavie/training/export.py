"""Writes the network of a run's last checkpoint without training, even while the run continues elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import LavieError, UsageError
from .average import Average
from .loop import Trainable
from .run_state import checkpoints


def load_last(stage: Trainable[Any], run: Path, ema_decay: float) -> int:
    """Give the stage's network the averaged weights of the last checkpoint; returns its step.

    Raises:
        UsageError: there is no checkpoint, or it is sharded over processes.
        LavieError: the checkpoint is of another network.
    """
    from safetensors.torch import load_model

    found = checkpoints(run)
    if not found:
        raise UsageError(f"There is no checkpoint in {run} to export.")
    path = found[-1]
    if not (path / "model.safetensors").is_file():
        raise UsageError(f"{path} is sharded over several processes: let the run end, which writes the network.")
    try:
        load_model(stage.model, path / "model.safetensors")
        average = Average(stage.model, ema_decay)
        average.load(path / "average.pt")
    except (OSError, RuntimeError, ValueError) as error:
        raise LavieError(f"{path} does not fit this network: {str(error).splitlines()[0]}") from error
    average.copy_to_model()
    return int(path.name.rpartition("-")[2])
