"""The training loop of every stage, on accelerate: one process or many, resumable to the very step."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..errors import UsageError
from ..models import VideoUNet
from . import run_state
from .average import Average
from .logs import RunLog, SkippedFiles
from .optimizers import learning_rate, new_optimizers
from .packages import check_packages
from .settings import LoopSettings
from .stopping import StopSignals

if TYPE_CHECKING:
    from accelerate import Accelerator

    from .data.dataset import Example, TrainingData

log = logging.getLogger(__name__)

# A run must keep these: with others, its examples or its state would not match.
FIXED = ("batch_size", "optimizer", "seed")

Model = TypeVar("Model", bound=nn.Module)


class Trainable(Protocol[Model]):
    """What learns, and from what: see `lavie.training.stages`."""

    model: Model

    def loss(self, model: nn.Module, examples: list[Example]) -> dict[str, Tensor]:
        """Scalar means over the examples; "total" is what is minimised, the others are logged.

        The model is called alone: where several processes train it is wrapped.
        """
        ...

    def samples(self, model: Model) -> dict[str, np.ndarray]:
        """Clips to look at, uint8 [frames, height, width, 3], by name; the model has its averaged weights."""
        ...


@dataclass(frozen=True)
class TrainResult(Generic[Model]):
    """The result of a run.

    model: with averaged weights, in evaluation mode, for `stage.save`; of several processes the main one's.
    steps: done, earlier parts of the run included. stopped: by `signal` (2 or 15), after a checkpoint was written.
    skipped: "name" and "reason" of every file that could not be read. is_main: whether this process is to save.
    """

    model: Model
    steps: int
    seconds: float
    stopped: bool
    signal: int
    skipped: list[dict[str, str]]
    is_main: bool


def train(
    stage: Trainable[Model],
    data: TrainingData,
    settings: LoopSettings,
    folder: Path,
    on_step: Callable[[int, dict[str, Tensor]], bool | None] | None = None,
    recorded: Mapping[str, Any] | None = None,
    on_samples: Callable[[int, dict[str, np.ndarray]], None] | None = None,
) -> TrainResult[Model]:
    """Train `stage.model`, going on from the last checkpoint in `folder`.

    Args:
        folder: gets checkpoint-STEP/, log.jsonl, tensorboard/, settings.json and skipped.jsonl.
        on_step: called after every step with the number of steps done and this process's terms; true stops the run as
            SIGINT does (of several processes all must say so).
        recorded: other settings of the run; one that differs when it goes on is refused.
        on_samples: gets the samples of `sample_every`, too, with the number of steps done.

    Raises:
        UsageError: settings that cannot work, or not for this run.
        LavieError: the loss is no longer a number; a checkpoint cannot be written or read; another process trains in
            the folder.
    """
    if settings.steps < 1:
        raise UsageError("A run has at least one step.")
    if data.batch_size != settings.batch_size:
        raise UsageError(f"The data give {data.batch_size} examples a step, the settings want {settings.batch_size}.")
    with run_state.claimed_run(folder):
        run = _Run(stage, settings, folder, dict(recorded or {}), on_samples)
        stop, received = StopSignals(), 0
        try:
            with stop, run.attention():
                batches = run.batches(data)
                while run.done < settings.steps and not received:
                    terms = run.step(batches)
                    wish = on_step is not None and on_step(run.done, terms)
                    received = stop.agreed() or (signal.SIGINT if wish else 0)
                    run.after_step(stopped=bool(received))
        finally:
            run.log.close()
        return run.result(received)


class _Run(Generic[Model]):
    """One process's part in a run: what accelerate has prepared, and how far it has come."""

    def __init__(
        self,
        stage: Trainable[Model],
        settings: LoopSettings,
        folder: Path,
        recorded: dict[str, Any],
        on_samples: Callable[[int, dict[str, np.ndarray]], None] | None = None,
    ) -> None:
        self.stage, self.settings, self.folder, self._on_samples = stage, settings, folder, on_samples
        self.accelerator = new_accelerator(settings)
        torch.manual_seed(settings.seed)
        model = stage.model.train()
        for module in model.modules():
            if isinstance(module, VideoUNet):
                module.gradient_checkpointing = settings.gradient_checkpointing
        self._sharded = sharded = _is_sharded(self.accelerator, settings)
        # Sharded weights come together here, for samples and for the result.
        self._whole = deepcopy(model).cpu() if sharded and self.accelerator.is_main_process else None
        if sharded:
            for parameter in model.parameters():
                parameter.data = parameter.data.contiguous()  # FSDP refuses the channels-last ones
        optimizers = new_optimizers(model, settings, fused=not sharded)
        self.model, *self.optimizers = self.accelerator.prepare(model, *optimizers)
        if not settings.save_frozen and not sharded:
            run_state.leave_out_frozen(self.accelerator)
        self.average = Average(self.model, settings.ema_decay)
        self._resume(recorded)

    def _resume(self, recorded: dict[str, Any]) -> None:
        values = asdict(self.settings) | recorded
        for line in run_state.check_settings(self.folder, values, (*FIXED, *recorded)):
            log.warning("The run goes on with %s.", line)
        progress = run_state.resume(self.folder, self.accelerator, self.average)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            run_state.write_settings(self.folder, values)
        self.accelerator.wait_for_everyone()
        self.done = progress.step
        self.skipped = SkippedFiles(self.folder)
        settings = self.settings
        self.log = RunLog(
            self.folder, self.accelerator, settings.batch_size, self.done, settings.steps, progress.seconds
        )

    def attention(self) -> AbstractContextManager:
        """Plain attention on the CPU: 20 % faster steps than the backward pass of its flash attention."""
        return sdpa_kernel(SDPBackend.MATH) if self.accelerator.device.type == "cpu" else nullcontext()

    def batches(self, data: TrainingData) -> Iterator[list[Example]]:
        """This process's micro-batches, from the next step on."""
        settings, processes = self.settings, self.accelerator.num_processes
        loader = data.loader(
            self.done,
            settings.steps,
            self.accelerator.process_index,
            processes,
            settings.micro_batch,
            settings.workers,
        )
        share = settings.batch_size // processes
        self._micro_batches = share // (settings.micro_batch or share)
        return iter(loader)

    def step(self, batches: Iterator[list[Example]]) -> dict[str, Tensor]:
        """One step of all optimizers; the terms of the loss."""
        rate = learning_rate(self.done, self.settings)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        terms = self._gradients(batches)
        if self.settings.max_grad_norm:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
            if self.settings.mixed_precision != "fp16":  # whose overflows are skipped, and no failure
                terms["gradient_norm"] = _whole(norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        self.average.step()
        self.done += 1
        self.log.add(terms)
        return terms

    def _gradients(self, batches: Iterator[list[Example]]) -> dict[str, Tensor]:
        """Means over this process's examples; gradients are exchanged with the last micro-batch only."""
        count, sums = self._micro_batches, {}
        for index in range(count):
            examples = next(batches)
            self.skipped.add(file for example in examples for file in example.skipped)
            with self.accelerator.no_sync(self.model) if index + 1 < count else nullcontext():
                terms = self.stage.loss(self.model, examples)
                self.accelerator.backward(terms["total"] / count)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0) + value.detach() / count
        return sums

    def after_step(self, stopped: bool) -> None:
        """Log, save and sample where it is time; a line goes before a checkpoint, so that no NaN is ever saved."""
        settings = self.settings
        saving = stopped or self.done == settings.steps or _due(settings.save_every, self.done)
        if saving or _due(settings.log_every, self.done):
            self.log.flush(learning_rate(self.done - 1, settings))
        if saving:
            progress = run_state.RunProgress(self.done, self.log.seconds)
            run_state.save(self.folder, self.accelerator, self.average, progress, settings.keep)
        if _due(settings.sample_every, self.done) and not stopped:
            self._sample()

    def _sample(self) -> None:
        with self.average.in_place():
            model = self._gathered()
            if self.accelerator.is_main_process:
                with torch.random.fork_rng(), torch.no_grad():
                    clips = self.stage.samples(model.to(self.accelerator.device).eval())
                self.log.samples(clips)
                if self._on_samples is not None:
                    self._on_samples(self.done, clips)
                model.train()
        if self._whole is not None:
            self._whole.cpu()
        self.accelerator.wait_for_everyone()

    def _gathered(self, at_the_end: bool = False) -> Model:
        """The model without its wrappers; sharded weights are gathered into a whole one on the main process."""
        if not self._sharded:
            return self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=not at_the_end)
        weights = self.accelerator.get_state_dict(self.model)
        if self._whole is not None:
            self._whole.load_state_dict(weights)
        return self.model if self._whole is None else self._whole

    def result(self, received: int) -> TrainResult[Model]:
        self.average.copy_to_model()
        model = self._gathered(at_the_end=True).eval()
        self.accelerator.wait_for_everyone()
        stopped = bool(received) and self.done < self.settings.steps
        return TrainResult(
            model=model,
            steps=self.done,
            seconds=self.log.seconds,
            stopped=stopped,
            signal=received if stopped else 0,
            skipped=self.skipped.entries(),
            is_main=self.accelerator.is_main_process,
        )


def new_accelerator(settings: LoopSettings) -> Accelerator:
    """Accelerate as torchrun or `accelerate launch` set it up (DDP or FSDP), or for one process.

    Raises:
        UsageError: fp16 on a CPU.
        LavieError: accelerate is not installed.
    """
    check_packages("accelerate")
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState

    # Accelerate keeps the precision for good; a process may train one stage after another.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    accelerator = Accelerator(
        cpu=settings.device == "cpu",
        mixed_precision=settings.mixed_precision,
        kwargs_handlers=[DistributedDataParallelKwargs(gradient_as_bucket_view=True)],
    )
    if settings.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise UsageError("fp16 needs a GPU; on a CPU train with bf16 or without mixed precision.")
    return accelerator


def _is_sharded(accelerator: Accelerator, settings: LoopSettings) -> bool:
    if accelerator.distributed_type.value != "FSDP":
        return False
    if not getattr(accelerator, "is_fsdp2", False):  # the first one loses the optimizer's hold on the weights
        raise UsageError(
            "Sharded training needs FSDP 2: accelerate launch --use_fsdp --fsdp_version 2 (accelerate ≥ 1.6)."
        )
    if settings.optimizer == "muon":
        raise UsageError("Muon needs whole weights, which FSDP does not keep: use AdamW, or DDP.")
    return True


def _whole(norm: Any) -> Tensor:
    """A norm of weights that may be sharded."""
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


def _due(every: int, done: int) -> bool:
    return bool(every) and done % every == 0
