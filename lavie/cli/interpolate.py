"""Give a video four times as many frames over the same time; every frame is made anew."""

from __future__ import annotations

import argparse

from ..config import MAX_FRAMES
from .arguments import add_lora_arguments, whole_number
from .transform import add_video_arguments, transform

HELP = "give a video four times as many frames"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_video_arguments(parser)
    add_lora_arguments(parser)
    frames = whole_number(0, MAX_FRAMES)
    parser.add_argument("--window", type=frames, metavar="N", help="input frames worked on at once; 0 takes all")
    parser.add_argument("--overlap", type=frames, metavar="N", help="input frames that neighbouring windows share")


def run(args: argparse.Namespace) -> int:
    return transform(args, "interpolation", "InterpolationPipeline", window=args.window, overlap=args.overlap)
