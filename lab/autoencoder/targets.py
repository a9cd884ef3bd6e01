"""The autoencoders as targets of `python -m lab train`: what they are told, with the defaults of their recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lavie.flags import part
from lavie.knobs import same_knob
from lavie.training.settings import LoopSettings, NetworkRun, Objective, Start, check_steps

from .recipes import LOOP, RECIPES


@dataclass(frozen=True, kw_only=True)
class AutoencoderObjective:
    mask_weight: float = same_knob(
        Objective, "mask_weight", 8.0, help="how many times an error counts inside an image's mask, its sprites"
    )


def _loop(name: str) -> Any:
    recipe = RECIPES[name]
    return part("optimisation", batch_size=recipe.batch_size, learning_rate=recipe.learning_rate, **LOOP)


def _objective(name: str) -> Any:
    return part("objective", mask_weight=RECIPES[name].mask_weight)


@dataclass(frozen=True)
class AutoencoderTraining:
    """What an autoencoder is told; its images are rendered."""

    name: ClassVar[str] = "vae"

    start: Start = part("what to start from")
    objective: AutoencoderObjective = _objective("vae")
    loop: LoopSettings = _loop("vae")
    run: NetworkRun = part("run")

    def __post_init__(self) -> None:
        check_steps(self.loop.steps)


@dataclass(frozen=True)
class DecoderTraining(AutoencoderTraining):
    name = "vae-decoder"

    loop: LoopSettings = _loop("vae-decoder")


@dataclass(frozen=True)
class UpscalerAutoencoderTraining(AutoencoderTraining):
    name = "upscaler-vae"

    objective: AutoencoderObjective = _objective("upscaler-vae")
    loop: LoopSettings = _loop("upscaler-vae")
