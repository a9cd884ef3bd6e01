"""The commands that turn one video into another: short ones in one go, long ones in segments."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from ..config import MAX_FRAMES, MIN_SEGMENT, find_family
from ..errors import Cancelled, UsageError
from ..flags import number
from ..stages import STAGES
from ..video import carried_sound, probe_video, read_video, writing
from .arguments import add_making_arguments, check_schedule, sampling_settings
from .making import described, loaded, made, print_results, require_space
from .progress import SegmentProgress

if TYPE_CHECKING:
    from ..pipelines.streaming import Streamable


def add_video_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    parser.add_argument("input", metavar="IN", help="A video, a folder of PNG frames, or name_%%04d.png.")
    parser.add_argument("--prompt", metavar="TEXT", help="What the video shows. (default: the prompt in the file)")
    parser.add_argument(
        "--fps", type=number(float, 0.01, 1000), metavar="X", help="Frame rate of the input, if the file has it wrong."
    )
    parser.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="Work in segments, from disk to disk. Memory does not grow with the length, and after a stop the same "
        "command resumes from the finished segments in OUTPUT.parts. (default: if the input is longer than one "
        "segment)",
    )
    parser.add_argument(
        "--segment",
        type=number(int, MIN_SEGMENT, MAX_FRAMES),
        metavar="N",
        help="Input frames per segment, at most. (default: ten windows)",
    )
    parser.add_argument("--restart", action="store_true", help="Discard the segments of an earlier run.")
    parser.set_defaults(output_fps=None)
    add_making_arguments(parser, stage)


def transform(args: argparse.Namespace, stage: str, pipeline_name: str) -> int:
    """Read the input, run one stage, write the output."""
    if args.stream is False and (args.segment is not None or args.restart):
        raise UsageError("--segment and --restart need work in segments. Leave out --no-stream.")
    with writing(args.output, args.input):
        return _transform(args, stage, pipeline_name)


def _transform(args: argparse.Namespace, stage: str, pipeline_name: str) -> int:
    config = find_family(args.model).stage(stage)
    check_schedule(args, stage)
    probe_video(args.input)
    from ..pipelines.streaming import Cut

    settings = sampling_settings(args, stage)
    if args.output_fps is not None:
        settings["output_fps"] = args.output_fps
    cut = None if args.stream is False else Cut.of(config, settings, args.segment)
    clip = None if args.stream else read_video(args.input, cut and cut.size + 1)
    if clip is not None and cut is not None and len(clip.frames) > cut.size:
        clip = None  # longer than one segment
    if clip is not None:
        count, height, width = clip.frames.shape[:3]
        spec = STAGES[stage]
        require_space([args.output], (spec.frames_made(count), height * spec.enlargement, width * spec.enlargement))
    pipeline = loaded(args, pipeline_name)
    if "float8" in args and args.float8:
        pipeline.store_as_float8()
    if clip is None:
        result = _streamed(args, pipeline, settings)
    else:
        stored = clip.metadata.get("prompt")
        known = stored if isinstance(stored, str) else ""
        settings |= {"prompt": known if args.prompt is None else args.prompt, "fps": args.fps or clip.fps}
        sound = carried_sound(args.input, args.output, pipeline.notify)
        result = made(args, pipeline, args.output, clip, clip.frames, sound=sound, **settings)
    print_results([result], args.json)
    return 0


def _streamed(args: argparse.Namespace, pipeline: Streamable, settings: dict[str, Any]) -> dict[str, Any]:
    from ..pipelines import stream_video

    started = time.perf_counter()
    with SegmentProgress(args.quiet) as progress:
        try:
            video = stream_video(
                pipeline,
                args.input,
                args.output,
                segment=args.segment,
                restart=args.restart,
                prompt=args.prompt,
                fps=args.fps,
                callback=progress,
                after_segment=progress.segment,
                **settings,
            )
        except (KeyboardInterrupt, Cancelled) as stop:
            raise Cancelled(progress.kept()) from stop
    return described(video, time.perf_counter() - started)
