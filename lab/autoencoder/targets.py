"""The autoencoders as targets of `python -m lab train`: their settings, with the defaults of their recipes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from lavie.flags import part
from lavie.knobs import same_knob
from lavie.training.settings import LoopSettings, NetworkRun, Objective, Start, check_steps
from lavie.training.targets import Target

from .recipes import LOOP, RECIPES

if TYPE_CHECKING:
    from lavie.training.loop import TrainResult


@dataclass(frozen=True, kw_only=True)
class AutoencoderObjective:
    mask_weight: float = same_knob(
        Objective, "mask_weight", 8.0, help="how many times an error counts inside a picture's mask, its sprites"
    )


def _loop(name: str) -> Any:
    recipe = RECIPES[name]
    return part("optimisation", batch_size=recipe.batch_size, learning_rate=recipe.learning_rate, **LOOP)


def _objective(name: str) -> Any:
    return part("objective", mask_weight=RECIPES[name].mask_weight)


@dataclass(frozen=True)
class AutoencoderTraining:
    """What an autoencoder is told; its pictures are rendered."""

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


def _train(settings: AutoencoderTraining) -> TrainResult | None:
    from .command import train_autoencoder

    return train_autoencoder(settings)


AUTOENCODERS = {
    "vae": Target("the autoencoder of base and interpolation, from rendered pictures", AutoencoderTraining, _train),
    "vae-decoder": Target("the decoder of that autoencoder alone", DecoderTraining, _train),
    "upscaler-vae": Target("the upscaler's autoencoder, from rendered pictures", UpscalerAutoencoderTraining, _train),
}
