"""Make a video four times as high and wide, with new detail."""

from __future__ import annotations

import argparse

from .transform import add_video_arguments, transform

HELP = "make a video four times as high and wide"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_video_arguments(parser, "upscaler")
    parser.add_argument(
        "--float8",
        action="store_true",
        help="Keep the network's weights in 8 bits: half the memory of float16, slightly different results.",
    )


def run(args: argparse.Namespace) -> int:
    return transform(args, "upscaler", "UpscalePipeline")
