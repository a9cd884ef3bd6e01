"""Join two videos with new frames between them."""

from __future__ import annotations

import argparse

from ..config import MAX_FRAMES
from ..flags import number
from ..video import find_sound, read_video, writing
from .arguments import add_making_arguments, add_resize_argument, check_schedule, sampling_settings
from .making import loaded, made, print_results

HELP = "join two videos with new frames between them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="FIRST", help="A video, a folder of PNG frames, or name_%%04d.png.")
    parser.add_argument("second", metavar="SECOND", help="The video to end with, of the same size; else see --resize.")
    parser.add_argument("prompt", metavar="PROMPT", help="What the new frames show.")
    parser.add_argument(
        "--frames",
        type=number(int, 1, MAX_FRAMES),
        default=8,
        metavar="N",
        help="How many frames to add. (default: 8)",
    )
    parser.add_argument(
        "--context",
        type=number(int, 1, 64),
        default=4,
        metavar="N",
        help="How many frames on each side the new ones must match. (default: 4)",
    )
    add_resize_argument(parser, "SECOND to the size of FIRST")
    add_making_arguments(parser, "extension")


def run(args: argparse.Namespace) -> int:
    with writing(args.output, args.first, args.second):
        return _join(args)


def _join(args: argparse.Namespace) -> int:
    check_schedule(args, "base")
    first, second = read_video(args.first), read_video(args.second)
    settings = {"num_frames": args.frames, "context_frames": args.context, "resize": args.resize, "fps": first.fps}
    settings |= sampling_settings(args, "extension")
    pipeline, inputs = loaded(args, "TransitionPipeline"), (args.prompt, first.frames, second.frames)
    if find_sound(args.first) or find_sound(args.second):
        pipeline.notify("A transition has no sound: that of the two videos is left out.")
    print_results([made(args, pipeline, args.output, first, *inputs, **settings)], args.json)
    return 0
