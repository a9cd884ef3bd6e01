"""Make a video four times as high and wide, with new detail."""

from __future__ import annotations

import argparse

from ..config import COLOR_CORRECTIONS, MAX_FRAMES, MAX_SIDE
from .arguments import whole_number
from .transform import add_video_arguments, transform

HELP = "make a video four times as high and wide"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_video_arguments(parser)
    frames, pixels = whole_number(0, MAX_FRAMES), whole_number(0, MAX_SIDE)
    parser.add_argument("--noise-level", type=whole_number(0, 350), metavar="N", help="0…350; more invents more detail")
    parser.add_argument("--window", type=frames, metavar="N", help="frames worked on at once; 0 takes all")
    parser.add_argument("--overlap", type=frames, metavar="N", help="frames that neighbouring windows share")
    parser.add_argument("--tile", type=pixels, metavar="N", help="edge of the tiles in input pixels; 0 takes all")
    parser.add_argument("--tile-overlap", type=pixels, metavar="N", help="pixels that neighbouring tiles share")
    parser.add_argument(
        "--chunks",
        choices=("blended", "official"),
        default="blended",
        help="official: the authors' separate chunks of 8 frames, with their seams (default: blended)",
    )
    parser.add_argument(
        "--color-correction",
        choices=COLOR_CORRECTIONS,
        help="wavelet: keep the colours of the input (default: the model's own)",
    )
    parser.add_argument(
        "--float8",
        action="store_true",
        help="keep the network's weights in 8 bits: half the memory of float16; changes the picture a little",
    )


def run(args: argparse.Namespace) -> int:
    return transform(
        args,
        "upscaler",
        "UpscalePipeline",
        noise_level=args.noise_level,
        window=args.window,
        overlap=args.overlap,
        tile=args.tile,
        tile_overlap=args.tile_overlap,
        chunks=args.chunks,
        color_correction=args.color_correction,
    )
