"""What the checks have in common: the core KSampler, and how far two results are apart."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from comfy_execution.utils import CurrentNodeContext
from support.graph import part, run, wires
from torch import Tensor

import nodes as core

SEED, STEPS, SCALE = 7, 20, 3.0
SMALL = {"width": 48, "height": 32, "num_frames": 4}


def relative(value: Tensor, truth: Tensor) -> float:
    return ((value - truth).norm() / truth.norm()).item()


def psnr(images: Tensor, truth: Tensor) -> float:
    error = ((images - truth) ** 2).mean().item()
    return -10 * math.log10(error) if error else math.inf


def empty(**size: int) -> dict[str, Tensor]:
    return run("LaVieEmptyLatentVideo", **{**SMALL, **size})[0]


def ksampler(model: Any = None, sampler: str = "ddim", scheduler: str = "ddim_uniform", steps: int = 3, **given: Any):
    """Latents by the core KSampler."""
    inputs = {**wires("base"), "latent_image": empty(), "denoise": 1.0, **given}
    inputs.update(model=model or inputs["model"], seed=SEED, steps=steps, cfg=SCALE)
    return core.KSampler().sample(sampler_name=sampler, scheduler=scheduler, **inputs)[0]["samples"]


def output_of(node: type, method: str, *args: Any) -> Any:
    """The first output of a core node, in its old form or in its new one."""
    result = node.execute(*args) if hasattr(node, "execute") else getattr(node(), method)(*args)
    return result[0]


def refusal(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "none"


@contextlib.contextmanager
def on_node(number: str) -> Iterator[list[tuple[str, str]]]:
    """A context in which a node of this number runs; gives the sentences that it shows, each with the number."""
    said: list[tuple[str, str]] = []
    page = SimpleNamespace(instance=SimpleNamespace(send_progress_text=lambda *told: said.append(told)))
    served = mock.patch.dict(sys.modules, {"server": SimpleNamespace(PromptServer=page)})
    quiet = mock.patch.object(part("nodes.host.notes"), "PATIENCE", math.inf)
    with served, quiet, CurrentNodeContext("prompt", number):
        yield said
