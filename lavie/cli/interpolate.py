"""Give a video four times as many frames over the same time. Every frame is made anew."""

from __future__ import annotations

import argparse

from ..flags import number
from .transform import add_video_arguments, transform

HELP = "give a video four times as many frames"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_video_arguments(parser, "interpolation")
    parser.add_argument(
        "--output-fps",
        type=number(float, 0.01, 1000),
        metavar="X",
        help="Frame rate of the output; the sound, if any, keeps its own pace. (default: lasts as long as the input)",
    )


def run(args: argparse.Namespace) -> int:
    return transform(args, "interpolation", "InterpolationPipeline")
