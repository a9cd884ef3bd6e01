"""`python -m lab train vae`, `vae-decoder` and `upscaler-vae`: from the command's arguments to a run."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from lavie.errors import UsageError
from lavie.models.vae import load_vae
from lavie.training.arguments import chosen_device, loop_settings, with_defaults
from lavie.training.cli import OF_DENOISING, OF_LORAS, add_arguments
from lavie.training.export import load_last
from lavie.training.loop import LoopSettings, TrainResult, train
from lavie.training.processes import tell
from lavie.training.start import SCRATCH, autoencoder_of

from .network import new_autoencoder
from .pictures import picture_data
from .recipes import LOOP, RECIPES, WEIGHT_DECAY, AutoencoderRecipe
from .stage import AutoencoderStage


def train_autoencoder(args: argparse.Namespace) -> TrainResult | None:
    """Everything that `train` does for an autoencoder; None where nothing was trained.

    Raises:
        LavieError, UsageError: what is missing, unreadable or does not fit.
    """
    check(args)
    recipe, args = recipe_and_defaults(args)
    chosen_device(args.device)  # refused here where it is not there
    settings = loop_settings(args, weight_decay=WEIGHT_DECAY)
    start = start_folder(args, recipe)
    if start is not None:
        recipe = replace(recipe, guide_weight=0.0)  # its latents know colours, in an order of their own
    stage = new_stage(recipe, start, settings, args.gradient_checkpointing)
    if args.export:
        step = load_last(stage, args.run_folder, args.ema)
        stage.save(stage.model.eval(), args.family)
        tell(f"wrote the {args.stage} of step {step} into {args.family}")
        return None
    tell(f"starts from {start or f'fresh weights, seed {args.seed}'}")
    data = picture_data(recipe, settings.steps, settings.batch_size, settings.seed)
    result = train(stage, data, settings, args.run_folder, recorded=recorded(args.stage, recipe))
    if result.is_main and not result.stopped:
        stage.save(result.model, args.family)
        tell(f"wrote the {args.stage} into {args.family}")
    return result


def check(args: argparse.Namespace) -> None:
    """Refuse what an autoencoder has no use for: its pictures are rendered, and it denoises nothing."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    for name in (*OF_DENOISING, *OF_LORAS):
        if getattr(args, name) != parser.get_default(name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} is not for the {args.stage}, which learns from rendered pictures: leave it out."
            )
    if not args.steps:
        raise UsageError("--steps 0 trains nothing: give the steps of the whole run.")


def recipe_and_defaults(args: argparse.Namespace) -> tuple[AutoencoderRecipe, argparse.Namespace]:
    """The recipe as the arguments change it, and the arguments with the recipe's values where they say nothing."""
    recipe = RECIPES[args.stage]
    if args.mask_weight is not None:
        recipe = replace(recipe, mask_weight=args.mask_weight)
    return recipe, with_defaults(args, batch=recipe.batch_size, learning_rate=recipe.learning_rate, **LOOP)


def recorded(stage: str, recipe: AutoencoderRecipe) -> dict[str, Any]:
    """What a run must keep when it goes on, besides the loop's own."""
    values = {name: value for name, value in asdict(recipe).items() if name not in ("batch_size", "learning_rate")}
    return {"stage": stage, **values}


def start_folder(args: argparse.Namespace, recipe: AutoencoderRecipe) -> Path | None:
    """The autoencoder to start from: that of --init; for a decoder alone, by default, the family's own.

    Raises:
        UsageError: there is none.
    """
    if args.init not in (None, SCRATCH):
        return autoencoder_of(args.init, recipe.part)
    if not recipe.decoder_only:
        return None
    own = args.family / recipe.part
    if args.init == SCRATCH or not own.exists():
        raise UsageError(
            f"A decoder learns the latents of an encoder, and there is none in {own}: train the vae first, or name a "
            "family with --init."
        )
    return own


def new_stage(
    recipe: AutoencoderRecipe, start: Path | None, settings: LoopSettings, checkpointing: bool
) -> AutoencoderStage:
    torch.manual_seed(settings.seed)
    vae: AutoencoderKL = new_autoencoder(recipe) if start is None else load_vae(start)
    if checkpointing:
        vae.enable_gradient_checkpointing()
    return AutoencoderStage(vae, recipe, settings.steps, settings.batch_size)
