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

from lavie.errors import UsageError
from lavie.flags import add_flags, settings_from
from lavie.training.assemble import StepRequest, build_stage
from lavie.training.data import ClipRequest, Mixture, TrainingData
from lavie.training.export import load_last
from lavie.training.loop import train
from lavie.training.settings import LoopSettings
from lavie.training.stages import DenoisingStage
from lavie.training.start import load_vae_of, open_family
from lavie.training.target_table import TARGETS
from lavie.training.targets import StageTraining

from .. import register
from .data import World
from .latents import precomputed

STILLS_SEED, CLIPS_SEED = 31, 55
RATE = 8.0  # frames a second


def arguments(argv: list[str]) -> tuple[argparse.Namespace, StageTraining]:
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
    parser, kind = argparse.ArgumentParser(), TARGETS[args.stage].settings
    add_flags(parser, kind)
    ours = ["--family", str(args.family), "--run", str(args.run)]
    ours += ["--videos", "world"] if args.clips else []
    ours += ["--images", "world-stills"] if args.stills else []
    return args, settings_from(parser.parse_args([*ours, *argv[cut + 1 :]]), kind)


def main(argv: list[str]) -> int:
    args, settings = arguments(argv)
    register()
    torch.set_num_threads(settings.run.threads or torch.get_num_threads())
    family = open_family(args.family, args.stage, settings.start.init)
    stage = build_stage(settings, family)
    if settings.run.export:
        step = load_last(stage, args.run, settings.loop.ema_decay)
        stage.save(stage.model, args.family)
        print(f"wrote the {args.stage} network of step {step} into {args.family}")
        return 0
    result = train(stage, data_of(args, settings.loop, stage), settings.loop, args.run)
    if not result.stopped:
        stage.save(result.model, args.family)
    return 128 + result.signal if result.stopped else 0


def data_of(args: argparse.Namespace, loop: LoopSettings, stage: DenoisingStage) -> TrainingData:
    height, width, vae = stage.settings.height, stage.settings.width, load_vae_of(stage.parts.family, args.stage)
    one, whole = ClipRequest(1, height, width), ClipRequest(16, height, width, RATE)
    stills = clips = None
    if args.stills:
        stills = precomputed(World(args.stills, STILLS_SEED, stills=True), one, vae, args.latents / "stills")
    if args.clips:
        clips = precomputed(World(args.clips, CLIPS_SEED), whole, vae, args.latents / "clips")
    common = {"batch_size": loop.batch_size, "seed": loop.seed, "image_request": one}
    if clips is None:
        if stills is None:
            raise UsageError("Name something to train on: --stills, --clips, or both.")
        return TrainingData(Mixture([stills]), one, **common)
    return TrainingData(
        videos=Mixture([clips]),
        request=StepRequest(stage.settings.frames, (RATE,), height, width, "center", loop.seed),
        images=None if stills is None else Mixture([stills]),
        num_images=stage.settings.images_per_clip,
        **common,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
