"""The training loop: AdamW, averaged weights, and a checkpoint from which the run goes on to the very step."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True)
class LoopSettings:
    """How long and how fast to learn; `seed` decides every batch, together with the step number."""

    steps: int
    learning_rate: float = 1e-3
    warmup: int = 200
    average_decay: float = 0.999
    weight_decay: float = 0.01
    save_every: int = 200
    seed: int = 0


def train(
    model: nn.Module,
    loss: Callable[[nn.Module, torch.Generator], dict[str, Tensor]],
    settings: LoopSettings,
    folder: Path,
) -> nn.Module:
    """Train `model` to `settings.steps` steps and return the average of its weights over time.

    `loss` draws a batch from the generator it is given and returns named terms, "total" among them. Goes
    on from `folder`/checkpoint.pt where there is one, and appends a line to `folder`/log.jsonl at each save.
    """
    average = deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        settings.learning_rate,
        (0.9, 0.99),
        weight_decay=settings.weight_decay,
    )
    parts = {"model": model, "average": average, "optimizer": optimizer}
    folder.mkdir(parents=True, exist_ok=True)
    first, seconds = _resume(folder / "checkpoint.pt", parts)
    started, sums, count = time.monotonic(), {}, 0
    model.train()
    for step in tqdm(range(first, settings.steps), initial=first, total=settings.steps, mininterval=10):
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
        terms = loss(model, generator)
        _update(model, average, optimizer, terms["total"], step, settings)
        sums = {name: sums.get(name, 0.0) + value.item() for name, value in terms.items()}
        count += 1
        if (step + 1) % settings.save_every == 0 or step + 1 == settings.steps:
            spent = seconds + time.monotonic() - started
            _save(folder / "checkpoint.pt", parts, step + 1, spent)
            _log(folder / "log.jsonl", step + 1, spent, {name: value / count for name, value in sums.items()})
            sums, count = {}, 0
    return average.eval()


def _update(
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    total: Tensor,
    step: int,
    settings: LoopSettings,
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * _schedule(step, settings)
    optimizer.zero_grad(set_to_none=True)
    total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    decay = min(settings.average_decay, (step + 1) / (step + 10))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def _schedule(step: int, settings: LoopSettings) -> float:
    """Linear warm-up, then a half cosine down to 2 % of the peak."""
    rise = min(1.0, (step + 1) / settings.warmup)
    return rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / settings.steps))))


def _save(path: Path, parts: dict, step: int, seconds: float) -> None:
    state = {name: part.state_dict() for name, part in parts.items()} | {"step": step, "seconds": seconds}
    torch.save(state, path.with_suffix(".partial"))
    path.with_suffix(".partial").replace(path)


def _resume(path: Path, parts: dict) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"], state["seconds"]


def _log(path: Path, step: int, seconds: float, terms: dict[str, float]) -> None:
    line = {"step": step, "seconds": round(seconds, 1)} | {name: round(v, 5) for name, v in terms.items()}
    with path.open("a") as log:
        log.write(json.dumps(line) + "\n")
