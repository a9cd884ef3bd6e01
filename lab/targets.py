"""What `python -m lab train` can train besides the targets of `lavie train`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lavie.training.target_table import Target

from .autoencoder.targets import AutoencoderTraining, DecoderTraining, UpscalerAutoencoderTraining

if TYPE_CHECKING:
    from lavie.training.loop import TrainResult


def _train(settings: AutoencoderTraining) -> TrainResult[Any] | None:
    from .autoencoder.command import train_autoencoder

    return train_autoencoder(settings)


AUTOENCODERS = {
    "vae": Target("the autoencoder of base and interpolation, from rendered images", AutoencoderTraining, _train),
    "vae-decoder": Target("the decoder of that autoencoder alone", DecoderTraining, _train),
    "upscaler-vae": Target("the upscaler's autoencoder, from rendered images", UpscalerAutoencoderTraining, _train),
}
