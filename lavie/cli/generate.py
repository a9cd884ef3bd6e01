"""Make a video from a prompt, or one from each line of a file; or repaint a video."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from ..argument_types import repaint_strength, size
from ..errors import UsageError
from ..video import check_writable, read_video
from .arguments import (
    add_lora_arguments,
    add_memory_argument,
    add_model_arguments,
    add_output_arguments,
    add_sampling_arguments,
    check_not_input,
    check_schedule,
    chosen_loras,
    chosen_memory,
    notifier,
    sampling_settings,
    size_settings,
)
from .progress import StageProgress
from .result import print_results, write_result

HELP = "make a video from a prompt"
STRENGTH = 0.6  # where --video is given and no --strength


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="What to show.")
    parser.add_argument("--prompt-file", metavar="FILE", help="One prompt per line. Numbers the videos: clip_1.mp4, …")
    add_output_arguments(parser)
    parser.add_argument("--size", type=size, metavar="HxW", help="Size before upscaling, divisible by 8, as 320x512.")
    parser.add_argument(
        "--video", metavar="IN", help="Repaint this video, folder of PNG frames, or name_%%04d.png. It sets the size."
    )
    parser.add_argument(
        "--strength",
        type=repaint_strength,
        metavar="X",
        help=f"How much of --video is made anew, 0.01…1. (default: {STRENGTH})",
    )
    parser.add_argument(
        "--no-interpolate", dest="interpolate", action="store_false", help="Skip the interpolation stage."
    )
    parser.add_argument("--no-upscale", dest="upscale", action="store_false", help="Skip the upscaler stage.")
    add_sampling_arguments(parser, "base")
    add_lora_arguments(parser)
    add_model_arguments(parser)
    add_memory_argument(parser)


def run(args: argparse.Namespace) -> int:
    prompts = _prompts(args.prompt, args.prompt_file)
    outputs = _outputs(args.output, len(prompts))
    strength = _strength(args)
    for output in outputs:
        if args.video is not None:
            check_not_input(args.video, output)
        check_writable(output)
    check_schedule(args, "base", strength)
    memory = chosen_memory(args)
    loras = chosen_loras(args)
    source = None if args.video is None else read_video(args.video)
    from ..pipelines import CascadePipeline

    pipeline = CascadePipeline.from_pretrained(args.model, args.device, args.dtype, memory)
    pipeline.notify = notifier(args)
    pipeline.set_loras(loras)
    settings = {**sampling_settings(args, "base"), **size_settings(args)}
    results = []
    with StageProgress(args.quiet) as progress:
        for prompt, output in zip(prompts, outputs, strict=True):
            started = time.perf_counter()
            video = pipeline(
                prompt,
                interpolate=args.interpolate,
                upscale=args.upscale,
                video=source and source.frames,
                strength=strength,
                callback=progress,
                **settings,
            )
            results.append(write_result(output, video, time.perf_counter() - started, source and source.metadata))
    print_results(results, args.json)
    return 0


def _prompts(prompt: str | None, file: str | None) -> list[str]:
    if (prompt is None) == (file is None):
        raise UsageError("Give a prompt, or --prompt-file with one prompt a line.")
    if prompt is not None:
        if not prompt.strip():
            raise UsageError("The prompt is empty.")
        return [prompt]
    try:
        text = Path(file or "").read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"The prompt file {file} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"The prompt file {file} is no UTF-8 text.") from error
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts:
        raise UsageError(f"The prompt file {file} is empty.")
    return prompts


def _strength(args: argparse.Namespace) -> float:
    """1 where no video is given: all is made anew."""
    if args.video is None and args.strength is not None:
        raise UsageError("--strength needs --video: it says how much of that video is made anew.")
    if args.video is not None and ("num_frames" in args or args.size is not None):
        raise UsageError("--video sets the number of frames and the size; leave out --frames and --size.")
    return 1.0 if args.video is None else args.strength or STRENGTH


def _outputs(output: str, count: int) -> list[str]:
    """clip.mp4, or clip_1.mp4, clip_2.mp4, … for several prompts; a folder/ of frames likewise."""
    if count == 1:
        return [output]
    if "%" in os.path.basename(output):
        raise UsageError("Several prompts cannot share one name pattern; write to folder/ or to video files.")
    name = output.rstrip("/" + os.sep)
    stem, ending = os.path.splitext(name)
    ending += output[len(name) :]
    return [f"{stem}_{number:0{len(str(count))}d}{ending}" for number in range(1, count + 1)]
