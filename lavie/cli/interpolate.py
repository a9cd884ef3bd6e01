"""Give a video four times as many frames over the same time. Every frame is made anew."""

from __future__ import annotations

import argparse

from .transform import add_video_arguments, transform

HELP = "give a video four times as many frames"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_video_arguments(parser, "interpolation")


def run(args: argparse.Namespace) -> int:
    return transform(args, "interpolation", "InterpolationPipeline")
