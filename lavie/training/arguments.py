"""What the command's arguments say to every stage."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from ..runtime import choose_device
from .loop import LoopSettings


def with_defaults(args: argparse.Namespace, **defaults: Any) -> argparse.Namespace:
    """The arguments, with these values for those that were not given."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    return argparse.Namespace(**{**vars(args), **defaults, **given})


def chosen_device(name: str) -> torch.device:
    return choose_device(None if name == "auto" else name)


def loop_settings(args: argparse.Namespace, **changes: Any) -> LoopSettings:
    """The loop's settings; `changes` are those that no argument decides."""
    values = {
        "steps": args.steps,
        "batch_size": args.batch,
        "micro_batch": args.micro_batch,
        "learning_rate": args.learning_rate,
        "optimizer": args.optimizer,
        "warmup": args.warmup,
        "schedule": args.schedule,
        "ema_decay": args.ema,
        "mixed_precision": args.mixed_precision,
        "gradient_checkpointing": args.gradient_checkpointing,
        "seed": args.seed,
        "save_every": args.save_every,
        "sample_every": args.sample_every,
        "log_every": args.log_every,
        "workers": args.workers,
        "device": "cpu" if args.device == "cpu" else "auto",
    }
    return LoopSettings(**{**values, **changes})
