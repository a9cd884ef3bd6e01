"""Train a denoising stage of lavie-tiny on the world, by the engine of `lavie train`.

    python -m lab.training.denoiser base FAMILY RUN LATENTS --stills 24000 --clips 3000 -- --steps 2000 …

What follows `--` are options of `lavie train` itself. The clips and pictures are encoded into LATENTS first; the run
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from lavie.training.arguments import loop_settings, with_defaults
from lavie.training.assemble import DEFAULTS, StepRequest, build_stage
from lavie.training.cli import add_arguments
from lavie.training.data import ClipRequest, Mixture, TrainingData
from lavie.training.export import load_last
from lavie.training.loop import train
from lavie.training.start import load_vae_of, open_family

from .data import World
from .latents import precomputed

STILLS_SEED, CLIPS_SEED = 31, 55
RATE = 8.0  # frames a second


def arguments(argv: list[str]) -> tuple[argparse.Namespace, argparse.Namespace]:
    """What is said to this command, and what to `lavie train`."""
    cut = argv.index("--") if "--" in argv else len(argv)
    own = argparse.ArgumentParser(description=__doc__)
    own.add_argument("stage", choices=("base", "extension"))
    own.add_argument("family", type=Path)
    own.add_argument("run", type=Path)
    own.add_argument("latents", type=Path)
    own.add_argument("--stills", type=int, default=0, metavar="N", help="pictures")
    own.add_argument("--clips", type=int, default=0, metavar="N", help="clips of 16 frames; none: pictures alone")
    args = own.parse_args(argv[:cut])
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    ours = [args.stage, "--family", str(args.family), "--run", str(args.run)]
    ours += ["--videos", "world"] if args.clips else []
    ours += ["--images", "world-stills"] if args.stills else []
    return args, with_defaults(parser.parse_args([*ours, *argv[cut + 1 :]]), **DEFAULTS)


def main(argv: list[str]) -> int:
    args, options = arguments(argv)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    family = open_family(args.family, args.stage, options.init)
    stage = build_stage(options, family)
    if options.export:
        step = load_last(stage, args.run, options.ema)
        stage.save(stage.model, args.family)
        print(f"wrote the {args.stage} network of step {step} into {args.family}")
        return 0
    result = train(stage, data_of(args, options, stage), loop_settings(options), args.run)
    if not result.stopped:
        stage.save(result.model, args.family)
    return 128 + result.signal if result.stopped else 0


def data_of(args: argparse.Namespace, options: argparse.Namespace, stage) -> TrainingData:
    height, width, vae = stage.settings.height, stage.settings.width, load_vae_of(stage.parts.family, args.stage)
    one = ClipRequest(1, height, width)
    stills = clips = None
    if args.stills:
        stills = precomputed(World(args.stills, STILLS_SEED, stills=True), one, vae, args.latents / "stills")
    if args.clips:
        clips = precomputed(
            World(args.clips, CLIPS_SEED), ClipRequest(16, height, width, RATE), vae, args.latents / "clips"
        )
    return TrainingData(
        videos=Mixture([stills if clips is None else clips]),
        request=one
        if clips is None
        else StepRequest(stage.settings.frames, (RATE,), height, width, "center", options.seed),
        batch_size=options.batch,
        seed=options.seed,
        images=Mixture([stills]) if clips is not None and stills is not None else None,
        num_images=stage.settings.images_per_clip,
        image_request=one,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
