"""Checkpoints of a run, from which it resumes at exactly the same step.

    checkpoint-STEP/        accelerate's state: networks, optimizers, generators, the precision's scaler
        average.pt          the averaged weights (average-RANK.pt where they are sharded)
        run.json            written last: the step, the seconds of training

A checkpoint is written under another name and renamed, so one with its final name is complete. Which examples come next
follows from the step alone (`lavie.training.data`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from _codecs import encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..atomic import OLDER, SUFFIX, claimed, partial_of, put_in_place, written_whole
from ..bounded import read_json, real, require_fields, whole
from ..errors import LavieError, UsageError
from ..torch_files import require_inert
from .average import Average
from .processes import is_first

if TYPE_CHECKING:
    from accelerate import Accelerator

SETTINGS = "settings.json"
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class RunProgress:
    """How far a run has come: steps done, seconds of training."""

    step: int = 0
    seconds: float = 0.0


@contextmanager
def claimed_run(folder: Path, output: Path | None = None) -> Iterator[None]:
    """Be the only run in the folder, and the only writer of the output, while the block runs; of several processes that
    train together the first one is. What a killed run left half-written goes.

    Raises:
        LavieError: another process trains there; says which one.
        UsageError: the folder cannot be written to.
    """
    with ExitStack() as stack:
        if is_first():
            if output is not None:
                stack.enter_context(claimed(output))
            stack.enter_context(claimed(folder / "run", f"the run in {folder}", "name another folder"))
            _remove([*folder.glob(f"*checkpoint-*{SUFFIX}"), *folder.glob(f"*checkpoint-*{OLDER}")])
        yield


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = [(int(match[1]), path) for path in folder.glob("checkpoint-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found) if (path / "run.json").is_file()]


def save(folder: Path, accelerator: Accelerator, average: Average, progress: RunProgress, keep: int) -> Path:
    """Write a checkpoint and remove all but the last `keep`; every process must call it.

    Raises:
        LavieError: the disk is full, or the folder cannot be written to.
    """
    target = folder / f"checkpoint-{progress.step}"
    partial = partial_of(target)
    try:
        if accelerator.is_main_process:
            _remove([partial])
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        if accelerator.is_main_process or _sharded(accelerator):
            average.save(partial / _average_name(accelerator))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            run = {"step": progress.step, "seconds": round(progress.seconds, 1), "processes": accelerator.num_processes}
            (partial / "run.json").write_text(json.dumps(run), encoding="utf-8")
            put_in_place(partial, target)
            _remove(checkpoints(folder)[: -max(1, keep)])
    except (OSError, RuntimeError, SafetensorError) as error:
        raise LavieError(f"The checkpoint {target} could not be written: {_first_line(error)}.") from error
    accelerator.wait_for_everyone()
    return target


def leave_out_frozen(accelerator: Accelerator) -> None:
    """From now on checkpoints hold only the trained weights, and loading one leaves the others unchanged."""

    def keep_learning(models: list[nn.Module], states: list[dict[str, Tensor]], _folder: str) -> None:
        for model, state in zip(models, states, strict=True):
            for name in state.keys() - _learning(model):
                del state[name]

    def load(models: list[nn.Module], folder: str) -> None:
        while models:  # accelerate loads what is left in the list
            model = models.pop()
            stored = load_file(Path(folder) / "model.safetensors")
            if stored.keys() != _learning(model):
                raise ValueError("other weights learnt in it")
            model.load_state_dict(stored, strict=False)

    accelerator.register_save_state_pre_hook(keep_learning)
    accelerator.register_load_state_pre_hook(load)


def _learning(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def resume(folder: Path, accelerator: Accelerator, average: Average) -> RunProgress:
    """Load the last complete checkpoint of the run into what `accelerator` has prepared; without one, the run starts at
    step 0.

    Raises:
        LavieError: the checkpoint is damaged or of another network.
        UsageError: the weights were sharded over another number of processes.
    """
    found = checkpoints(folder)
    if not found:
        return RunProgress()
    path = found[-1]
    run = read_json(path / "run.json")
    require_fields(
        run, {"step": whole(0, 1 << 40), "seconds": real(0, 1e12), "processes": whole(1, 1 << 20)}, str(path)
    )
    if not {"step", "seconds", "processes"} <= run.keys():
        raise LavieError(f"{path} is damaged: its run.json is not whole. Remove it to go on from the one before.")
    if _sharded(accelerator) and run["processes"] != accelerator.num_processes:
        raise UsageError(f"{path} was sharded over {run['processes']} processes: go on with as many.")
    require_inert_folder(path)
    try:
        with _weights_only():
            accelerator.load_state(str(path))
        average.load(path / _average_name(accelerator))
    except Exception as error:  # damaged files make the unpickler raise anything
        raise LavieError(
            f"{path} does not fit this network or is damaged ({_first_line(error)}). Use another run folder, or remove "
            "that checkpoint to go on from the one before."
        ) from error
    return RunProgress(run["step"], run["seconds"])


def require_inert_folder(checkpoint: Path) -> None:
    """Refuse a checkpoint with a pickle that could run code, whatever version of accelerate loads it.

    Raises:
        LavieError: names the file.
    """
    for file in sorted(checkpoint.rglob("*")):
        if file.is_file() and file.suffix not in (".safetensors", ".json", ".distcp"):
            require_inert(file)


@contextmanager
def _weights_only() -> Iterator[None]:
    """torch.load takes nothing but weights and numbers, even where accelerate (before 1.0) asks for more."""
    before = os.environ.get(_FORCE)
    os.environ[_FORCE] = "1"
    numbers = [np.empty(0).__reduce__()[0], np.ndarray, np.dtype, type(np.dtype(np.uint32)), encode]
    torch.serialization.add_safe_globals(numbers)  # the state of numpy's generator
    try:
        yield
    finally:
        os.environ.pop(_FORCE)
        if before is not None:
            os.environ[_FORCE] = before


def check_settings(folder: Path, settings: Mapping[str, Any], fixed: tuple[str, ...]) -> list[str]:
    """Compare with the settings that the run started with; a new run stores these.

    fixed: names of settings that a run must keep.

    Returns:
        What differs and may, in words: "learning_rate 0.001, before 0.0001".

    Raises:
        UsageError: a fixed setting differs.
    """
    file = folder / SETTINGS
    begun = read_json(file) if file.is_file() and checkpoints(folder) else {}
    current = json.loads(json.dumps(settings))
    changed = {name: value for name, value in current.items() if name in begun and begun[name] != value}
    refused = [f"{name} {begun[name]}, now {changed[name]}" for name in changed if name in fixed]
    if refused:
        raise UsageError(f"The run in {folder} began with {', '.join(refused)}. Keep that, or use another run folder.")
    return [f"{name} {value}, before {begun[name]}" for name, value in changed.items()]


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    with written_whole(folder / SETTINGS) as partial:
        partial.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _average_name(accelerator: Accelerator) -> str:
    return f"average-{accelerator.process_index}.pt" if _sharded(accelerator) else "average.pt"


def _sharded(accelerator: Accelerator) -> bool:
    return accelerator.distributed_type.value == "FSDP"


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        if folder.exists():
            shutil.rmtree(folder)  # raises, where `atomic.remove` would go on with a full disk


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".:")
