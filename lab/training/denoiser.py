"""Train a denoising stage of lavie-tiny on the world, by the engine of `lavie train`.

    python -m lab.training.denoiser base FAMILY RUN LATENTS --stills 24000 --clips 3000 -- --steps 2000 …

What follows `--` are options of `lavie train` itself. The clips and images are encoded into LATENTS first; the run
resumes where it stopped. `CLIPS` says which clips each stage learns from.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
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
from lavie.training.start import open_family
from lavie.training.target_table import TARGETS
from lavie.training.targets import StageTraining

from .. import register
from .data import LATEST, World
from .emphasis import Emphasis
from .latents import precomputed

STILLS_SEED = 31


@dataclass(frozen=True)
class Filmed:
    """The clips that a stage learns from: so many frames, at a rate; each begins up to `latest` seconds late."""

    folder: str
    seed: int
    frames: int
    rate: float
    latest: float = 0.0


CLIPS = {
    "base": Filmed("clips", 55, 16, 8.0),
    "interpolation": Filmed("dense", 56, 61, 32.0),
    "extension": Filmed("courses", 57, 16, 8.0, LATEST),
    "upscaler": Filmed("large", 58, 8, 16.0),
}


def arguments(argv: list[str]) -> tuple[argparse.Namespace, StageTraining]:
    """This command's own arguments, and the settings for `lavie train`."""
    cut = argv.index("--") if "--" in argv else len(argv)
    own = argparse.ArgumentParser(description=__doc__)
    own.add_argument("stage", choices=CLIPS)
    own.add_argument("family", type=Path)
    own.add_argument("run", type=Path)
    own.add_argument("latents", type=Path)
    own.add_argument("--stills", type=int, default=0, metavar="N", help="images, for the base")
    own.add_argument("--clips", type=int, default=0, metavar="N", help="clips; none: images alone")
    own.add_argument("--motions", action="store_true", help="what moves comes more often and counts more")
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
    settings, filmed = stage.settings, CLIPS[args.stage]
    one = ClipRequest(1, settings.height, settings.width)
    stills = clips = None
    if args.stills:
        world = World(args.stills, STILLS_SEED, stills=True)
        stills = precomputed(world, one, stage, args.latents / "stills")
        stills = Emphasis(stills, world) if args.motions else stills
    if args.clips:
        whole = replace(one, num_frames=filmed.frames, fps=filmed.rate)
        world = World(args.clips, filmed.seed, latest=filmed.latest)
        clips = precomputed(world, whole, stage, args.latents / filmed.folder)
        clips = Emphasis(clips, world) if args.motions else clips
    common = {"batch_size": loop.batch_size, "seed": loop.seed, "image_request": one}
    if clips is None:
        if stills is None:
            raise UsageError("Name something to train on: --stills, --clips, or both.")
        return TrainingData(Mixture([stills]), one, **common)
    height, width = settings.patch or (settings.height, settings.width)
    crop = "patch" if settings.patch else "center"
    return TrainingData(
        videos=Mixture([clips]),
        request=StepRequest(settings.frames, (filmed.rate,), height, width, crop, loop.seed),
        images=None if stills is None else Mixture([stills]),
        num_images=settings.images_per_clip,
        **common,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
