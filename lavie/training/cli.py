"""`lavie train STAGE`: train one stage of a family, on procedurally rendered clips."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError

AUTOENCODERS = ("vae", "vae-decoder", "upscaler-vae")
UNETS = ("base", "interpolation", "upscaler")
HELP = "train a stage of a model family on rendered clips"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", choices=AUTOENCODERS + UNETS, help="which network to train")
    parser.add_argument("--family", type=Path, required=True, help="folder of the family; the result is written there")
    parser.add_argument("--run", type=Path, required=True, help="folder for the checkpoint and the log; resumes")
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/cache"), help="folder for encoded clips, kept between runs"
    )
    parser.add_argument("--steps", type=int, required=True, help="steps in all")
    parser.add_argument("--clips", type=int, default=8192, help="how many different clips (default: 8192)")
    parser.add_argument("--batch-frames", type=int, default=128, help="frames per step (default: 128)")
    parser.add_argument("--frames", type=int, nargs="+", default=[16], help="clip lengths to draw from (default: 16)")
    parser.add_argument("--crop", type=int, default=0, help="upscaler: edge of the crops in latent pixels")
    parser.add_argument("--freeze-text", action="store_true", help="base: leave the text encoder as it is")
    parser.add_argument("--init", type=Path, help="family folder whose weights to start from")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="peak learning rate (default: 0.001)")
    parser.add_argument("--seed", type=int, default=0, help="decides weights, clips and noise (default: 0)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")


def run(args: argparse.Namespace) -> int:
    import torch

    if args.steps < 1 or args.clips < 1 or args.batch_frames < 1:
        raise UsageError("--steps, --clips and --batch-frames must be at least 1.")
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.stage in AUTOENCODERS:
        _train_autoencoder(args)
    else:
        _train_unet(args)
    return 0


def _train_autoencoder(args: argparse.Namespace) -> None:
    """`vae-decoder` sharpens the decoder of the family's VAE and leaves the meaning of its latents."""
    from .autoencoder import RECIPES, export, train

    decoder_only = args.stage == "vae-decoder"
    folder = args.family / ("vae" if decoder_only else args.stage.replace("-", "_"))
    start = folder if decoder_only else None
    model = train(RECIPES[args.stage], args.run, args.steps, args.seed, args.device, start)
    export(model, RECIPES[args.stage], folder)


def _train_unet(args: argparse.Namespace) -> None:
    import torch

    from .loop import LoopSettings, train
    from .stages import TASKS, Data

    torch.manual_seed(args.seed)
    data = Data(
        family=args.family,
        cache=args.cache,
        clips=args.clips,
        batch_frames=args.batch_frames,
        frames=tuple(args.frames),
        crop=args.crop,
        freeze_text=args.freeze_text,
        seed=args.seed,
        device=args.device,
    )
    task = TASKS[args.stage](data)
    settings = LoopSettings(steps=args.steps, learning_rate=args.learning_rate, seed=args.seed)
    task.save(train(task.model(args.init), task.loss, settings, args.run), args.family)
