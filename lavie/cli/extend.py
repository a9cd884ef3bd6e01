"""Make a long video from one prompt or from prompts that change over time, or continue a video."""

from __future__ import annotations

import argparse
import re

from ..config import MAX_FRAMES, find_family
from ..errors import UsageError
from ..flags import add_flags, given, number, size
from ..knobs import knobs_of
from ..long_video import METHODS, LongVideoSettings
from ..video import carried_sound, read_video, writing
from .arguments import (
    add_making_arguments,
    add_resize_argument,
    check_schedule,
    sampling_settings,
    size_settings,
)
from .making import loaded, made, print_results

HELP = "make a long video, or continue one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prompt",
        metavar="PROMPT",
        help="What the video should show, or prompts by frame: '0: a red ball over grass, 16: a star'.",
    )
    parser.add_argument("--prompt-file", action="store_true", help="PROMPT is a file of such lines.")
    frames = number(int, 1, MAX_FRAMES)
    parser.add_argument("--frames", type=frames, default=64, metavar="N", help="Frames in all. (default: 64)")
    parser.add_argument(
        "--video",
        metavar="IN",
        help="Continue this video, folder of images or single image. Its frames count towards --frames.",
    )
    add_resize_argument(parser, "--video to --size, or to the model's own size")
    parser.add_argument(
        "--method",
        choices=tuple(METHODS),
        help=" ".join(f"{name}: {method.help}." for name, method in METHODS.items())
        + " (default: conditioned if the model has an extension stage, else replacement)",
    )
    add_flags(parser, LongVideoSettings, defaults={name: _default(name) for name in knobs_of(LongVideoSettings)})
    parser.add_argument("--size", type=size, metavar="HxW", help="Such as 320x512. (default: the model's own)")
    add_making_arguments(parser, "base", leave_out=("num_frames",))


def run(args: argparse.Namespace) -> int:
    with writing(args.output, args.video, args.prompt if args.prompt_file else None):
        return _extend(args)


def _extend(args: argparse.Namespace) -> int:
    family = find_family(args.model)
    check_schedule(args, "base")
    if args.method is not None and args.video is not None and not METHODS[args.method].continues:
        able = " or ".join(name for name, method in METHODS.items() if method.continues)
        raise UsageError(f"--method {args.method} begins anew; to continue --video choose {able}.")
    if args.video is not None and args.size is not None and args.resize == "refuse":
        raise UsageError("--video sets the size. Leave out --size, or choose how to --resize the video.")
    source = args.video and read_video(args.video)
    from ..sampling import PromptSchedule

    prompt: str | PromptSchedule = args.prompt
    if args.prompt_file:
        prompt = PromptSchedule.read(args.prompt)
    elif re.match(r"\s*\d+\s*:", args.prompt):
        prompt = PromptSchedule.parse(args.prompt)
    settings = {**given(args, LongVideoSettings), **sampling_settings(args, "base"), **size_settings(args)}
    settings |= {"method": args.method, "resize": args.resize}
    pipeline = loaded(args, "LongVideoPipeline", family)
    if args.video is not None and source:
        settings |= {"video": source.frames, "fps": source.fps}
        settings["sound"] = carried_sound(args.video, args.output, pipeline.notify, args.frames / source.fps)
    print_results([made(args, pipeline, args.output, source, prompt, args.frames, **settings)], args.json)
    return 0


def _default(setting: str) -> str:
    """What the help says about a setting's default, and which methods have it."""
    having = ", ".join(name for name, method in METHODS.items() if setting in method.has)
    return f"the method's own; for {having}" if having else f"{knobs_of(LongVideoSettings)[setting].default:g}"
