"""Join two videos with new frames between them."""

from __future__ import annotations

import argparse
import time

from ..argument_types import whole_number
from ..config import MAX_FRAMES
from ..video import check_writable, read_video
from .arguments import (
    add_lora_arguments,
    add_memory_argument,
    add_model_arguments,
    add_output_arguments,
    add_resize_argument,
    add_sampling_arguments,
    check_not_input,
    check_schedule,
    chosen_loras,
    chosen_memory,
    notifier,
    sampling_settings,
)
from .progress import StageProgress
from .result import print_results, write_result

HELP = "join two videos with new frames between them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="FIRST", help="A video, a folder of PNG frames, or name_%%04d.png.")
    parser.add_argument("second", metavar="SECOND", help="The video to end with, of the same size; else see --resize.")
    parser.add_argument("prompt", metavar="PROMPT", help="What the new frames show.")
    add_output_arguments(parser)
    parser.add_argument(
        "--frames",
        type=whole_number(1, MAX_FRAMES),
        default=8,
        metavar="N",
        help="How many frames to add. (default: 8)",
    )
    parser.add_argument(
        "--context",
        type=whole_number(1, 64),
        default=4,
        metavar="N",
        help="How many frames on each side the new ones must fit. (default: 4)",
    )
    add_resize_argument(parser, "SECOND to the size of FIRST")
    add_sampling_arguments(parser, "extension")
    add_lora_arguments(parser)
    add_model_arguments(parser)
    add_memory_argument(parser)


def run(args: argparse.Namespace) -> int:
    for video in (args.first, args.second):
        check_not_input(video, args.output)
    check_writable(args.output)
    check_schedule(args, "base")
    memory = chosen_memory(args)
    loras = chosen_loras(args)
    first, second = read_video(args.first), read_video(args.second)
    from ..pipelines import TransitionPipeline

    pipeline = TransitionPipeline.from_pretrained(args.model, args.device, args.dtype, memory)
    pipeline.notify = notifier(args)
    pipeline.set_loras(loras)
    started = time.perf_counter()
    with StageProgress(args.quiet) as progress:
        video = pipeline(
            args.prompt,
            first.frames,
            second.frames,
            num_frames=args.frames,
            context_frames=args.context,
            resize=args.resize,
            callback=progress,
            **sampling_settings(args, "extension"),
        )
    print_results([write_result(args.output, video, time.perf_counter() - started, first.metadata)], args.json)
    return 0
