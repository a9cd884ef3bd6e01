"""Make a long video: from a prompt or prompts that change over time, or on from the end of a video or a picture."""

from __future__ import annotations

import argparse
import re
import time

from ..config import MAX_FRAMES, find_family
from ..errors import UsageError
from ..video import check_writable, read_video
from .arguments import (
    add_lora_arguments,
    add_model_arguments,
    add_output_arguments,
    add_resize_argument,
    add_sampling_arguments,
    check_not_input,
    check_schedule,
    chosen_loras,
    real_number,
    sampling_settings,
    size,
    whole_number,
)
from .progress import StageProgress
from .result import print_results, write_result

HELP = "make a long video, or go on from the end of one"
share, motion = real_number(0, 1), real_number(0, 20)
METHODS = ("conditioned", "replacement", "free_noise", "fifo", "free_long", "independent")
GOES_ON = METHODS[:2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prompt", metavar="PROMPT", help="what to show, or prompts by frame: '0: a red ball over grass, 16: a star'"
    )
    parser.add_argument("--prompt-file", action="store_true", help="PROMPT is a file of such lines")
    add_output_arguments(parser)
    frames = whole_number(1, MAX_FRAMES)
    parser.add_argument("--frames", type=frames, default=64, metavar="N", help="in all (default: 64)")
    parser.add_argument("--video", metavar="IN", help="go on from this film or folder; its frames count")
    add_resize_argument(parser, "--video, to --size or the model's own size")
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="conditioned: the extension stage (default, where the model has one); replacement: the base, its last "
        "frames kept; free_noise, free_long: all in one pass; fifo: frame by frame, in constant memory; independent: "
        "hard cuts",
    )
    parser.add_argument(
        "--context", type=whole_number(1, 64), metavar="N", help="frames that clips share (default: the method's own)"
    )
    parser.add_argument(
        "--transition",
        type=whole_number(0, MAX_FRAMES),
        default=0,
        metavar="N",
        help="frames over which a prompt goes over to the next (default: 0)",
    )
    parser.add_argument("--resample", type=whole_number(1, 20), metavar="N", help="replacement: every step N times")
    parser.add_argument(
        "--drift-correction", type=share, metavar="X", help="0…1: keep the first clip's colours, contrast and sharpness"
    )
    parser.add_argument(
        "--seam-frames",
        type=whole_number(0, 64),
        metavar="N",
        help="conditioned, replacement: frames over which a clip's jump from the last one fades out (default: 4)",
    )
    parser.add_argument("--anchor", type=share, metavar="X", help="0…1: later clips hold on to the first frame")
    parser.add_argument(
        "--motion-injection",
        action="store_true",
        default=None,
        help="free_noise: later prompts change what happens, the first one keeps the look",
    )
    parser.add_argument("--motion", type=motion, default=0.0, metavar="X", help="livelier; 1…5 is much (default: 0)")
    parser.add_argument(
        "--free-init-iterations",
        type=whole_number(1, 10),
        default=1,
        metavar="N",
        help="above 1: steadier, that many times as slow (default: 1)",
    )
    parser.add_argument("--size", type=size, metavar="HxW", help="as 320x512 (default: the model's own)")
    add_sampling_arguments(parser)
    add_lora_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> int:
    if args.video is not None:
        check_not_input(args.video, args.output)
    check_writable(args.output)
    family = find_family(args.model)
    check_schedule(args, "base")
    method = args.method or ("conditioned" if family.extension is not None else "replacement")
    if args.video is not None and method not in GOES_ON:
        raise UsageError(f"--method {method} begins anew; to go on from --video choose {' or '.join(GOES_ON)}.")
    if args.video is not None and args.size is not None and args.resize == "refuse":
        raise UsageError("--video sets the size; leave out --size, or say how to --resize it.")
    loras = chosen_loras(args)
    source = None if args.video is None else read_video(args.video)
    from ..pipelines import LongVideoPipeline
    from ..sampling import PromptSchedule

    prompt: str | PromptSchedule = args.prompt
    if args.prompt_file:
        prompt = PromptSchedule.read(args.prompt)
    elif re.match(r"\s*\d+\s*:", args.prompt):
        prompt = PromptSchedule.parse(args.prompt)
    pipeline = LongVideoPipeline.from_pretrained(family, args.device, args.dtype)
    pipeline.set_loras(loras)
    height, width = args.size or (None, None)
    started = time.perf_counter()
    with StageProgress(args.quiet) as progress:
        video = pipeline(
            prompt,
            args.frames,
            method=method,
            video=source and source.frames,
            resize=args.resize,
            height=height,
            width=width,
            context_frames=args.context,
            transition=args.transition,
            resample=args.resample,
            drift_correction=args.drift_correction,
            anchor=args.anchor,
            seam_frames=args.seam_frames,
            motion_injection=args.motion_injection,
            motion=args.motion,
            free_init_iterations=args.free_init_iterations,
            callback=progress,
            **sampling_settings(args),
        )
    seconds = time.perf_counter() - started
    print_results([write_result(args.output, video, seconds, source and source.metadata)], args.json)
    return 0
