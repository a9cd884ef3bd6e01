"""The commands that turn one video into another."""

from __future__ import annotations

import argparse
import time
from typing import Any

from ..config import find_family
from ..video import VideoClip, check_writable, read_video
from .arguments import (
    add_model_arguments,
    add_output_arguments,
    add_sampling_arguments,
    check_not_input,
    check_schedule,
    chosen_loras,
    frame_rate,
    sampling_settings,
)
from .progress import StageProgress
from .result import print_results, write_result


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="a film, a folder of PNG frames, or name_%%04d.png")
    add_output_arguments(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="what it shows (default: the prompt stored in the file)")
    parser.add_argument("--fps", type=frame_rate, metavar="X", help="frame rate of the input, where the file is wrong")
    add_sampling_arguments(parser)
    add_model_arguments(parser)


def transform(args: argparse.Namespace, stage: str, pipeline_name: str, **settings: Any) -> int:
    """Read the input, run one stage with the settings (None: the model's own), write the output."""
    check_not_input(args.input, args.output)
    check_writable(args.output)
    check_schedule(args, getattr(find_family(args.model), stage))
    loras = chosen_loras(args) if "loras" in args else []
    clip = read_video(args.input)
    from .. import pipelines

    pipeline = getattr(pipelines, pipeline_name).from_pretrained(args.model, args.device, args.dtype)
    if loras:
        pipeline.set_loras(loras)
    started = time.perf_counter()
    with StageProgress(args.quiet) as progress:
        video = pipeline(
            clip.frames,
            prompt=_prompt(args, clip),
            fps=args.fps or clip.fps,
            callback=progress,
            **sampling_settings(args),
            **settings,
        )
    print_results([write_result(args.output, video, time.perf_counter() - started, clip.metadata)], args.json)
    return 0


def _prompt(args: argparse.Namespace, clip: VideoClip) -> str:
    stored = clip.metadata.get("prompt")
    if args.prompt is not None:
        return args.prompt
    return stored if isinstance(stored, str) else ""
