"""How long and how fast a run learns."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError

PRECISIONS = ("no", "bf16", "fp16")
OPTIMIZERS = ("adamw", "muon")
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to learn.

    steps: of the whole run. batch_size: examples per step, all processes together. micro_batch: examples per forward
    pass of one process, whose gradients add up (0: all of its share at once). warmup: steps. schedule: "cosine" (to
    2 % of the peak) or "constant". max_grad_norm: 0 for none. ema_decay: of the averaged weights, 0 for none.
    mixed_precision: "no", "bf16" or "fp16" (GPU only); weights stay float32. save_every, sample_every, log_every:
    steps, 0 for never; the end of the run is always saved. workers: processes that read ahead. keep: checkpoints.
    save_frozen: whether these hold weights that do not learn; without, a run must start from the same ones each time.
    device: "auto" or "cpu".
    """

    steps: int
    batch_size: int
    micro_batch: int = 0
    learning_rate: float = 1e-4
    optimizer: str = "adamw"
    warmup: int = 100
    schedule: str = "cosine"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    ema_decay: float = 0.999
    mixed_precision: str = "no"
    gradient_checkpointing: bool = False
    seed: int = 0
    save_every: int = 500
    sample_every: int = 0
    log_every: int = 20
    workers: int = 0
    keep: int = 2
    save_frozen: bool = True
    device: str = "auto"

    def __post_init__(self) -> None:
        choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "mixed_precision": PRECISIONS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{name} must be one of {', '.join(known)}, not '{getattr(self, name)}'.")
        if self.steps < 1 or self.batch_size < 1:
            raise UsageError("A run has at least one step of at least one example.")
        if not 0 <= self.ema_decay < 1:
            raise UsageError(f"ema_decay must be at least 0 and below 1, not {self.ema_decay}.")
