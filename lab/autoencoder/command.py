"""`python -m lab train vae`, `vae-decoder` and `upscaler-vae`: from the target's settings to a run."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from lavie.errors import UsageError
from lavie.models.vae import load_vae
from lavie.training.assemble import into_family
from lavie.training.loop import TrainResult
from lavie.training.processes import chosen_device, print_once
from lavie.training.settings import LoopSettings, Start
from lavie.training.start import SCRATCH, autoencoder_of

from .images import image_data
from .network import Autoencoder, new_autoencoder
from .recipes import RECIPES, AutoencoderRecipe
from .stage import AutoencoderStage
from .targets import AutoencoderTraining


def train_autoencoder(settings: AutoencoderTraining) -> TrainResult[Autoencoder] | None:
    """Everything that `train` does for an autoencoder; None where nothing was trained."""
    name, loop = settings.name, settings.loop
    chosen_device(loop.device)  # refused here where it is not there
    recipe = replace(RECIPES[name], mask_weight=settings.objective.mask_weight)
    start = start_folder(settings.start, recipe)
    if start is not None:
        recipe = replace(recipe, guide_weight=0.0)  # its latents know colours, in an order of their own
    stage = new_stage(recipe, start, loop)
    print_once(f"starts from {start or f'fresh weights, seed {loop.seed}'}")
    images = partial(image_data, recipe, loop.steps, loop.batch_size, loop.seed)
    return into_family(stage, images, settings, recorded(name, recipe), name)


def recorded(stage: str, recipe: AutoencoderRecipe) -> dict[str, Any]:
    """What a run must keep when it goes on, besides the loop's own."""
    values = {name: value for name, value in asdict(recipe).items() if name not in ("batch_size", "learning_rate")}
    values["sprite_weight"] = values.pop("mask_weight")  # its name in runs of older versions
    return {"stage": stage, **values}


def start_folder(given: Start, recipe: AutoencoderRecipe) -> Path | None:
    """The autoencoder to start from: that of --init; for a decoder alone, by default, the family's own.

    Raises:
        UsageError: there is none.
    """
    if given.init not in (None, SCRATCH):
        return autoencoder_of(given.init, recipe.part)
    if not recipe.decoder_only:
        return None
    own = given.family / recipe.part
    if given.init == SCRATCH or not own.exists():
        raise UsageError(
            f"A decoder learns the latents of an encoder, and there is none in {own}: train the vae first, or name a "
            "family with --init."
        )
    return own


def new_stage(recipe: AutoencoderRecipe, start: Path | None, loop: LoopSettings) -> AutoencoderStage:
    torch.manual_seed(loop.seed)
    vae: AutoencoderKL = new_autoencoder(recipe) if start is None else load_vae(start)
    if loop.gradient_checkpointing:
        vae.enable_gradient_checkpointing()
    return AutoencoderStage(vae, recipe, loop.steps, loop.batch_size)
