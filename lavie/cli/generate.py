"""Make a video from a prompt, or one from each line of a file; or repaint a video."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from pathlib import Path

from ..errors import UsageError
from ..flags import number, size
from ..video import carried_sound, read_video, writing
from .arguments import add_making_arguments, check_schedule, sampling_settings, size_settings
from .making import loaded, made, print_results, require_space

HELP = "make a video from a prompt"
STRENGTH = 0.6  # where --video is given and no --strength


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="What the video should show.")
    parser.add_argument(
        "--prompt-file", metavar="FILE", help="One prompt per line. The videos are numbered: clip_1.mp4, …"
    )
    parser.add_argument(
        "--size", type=size, metavar="HxW", help="Size before upscaling, divisible by 8, such as 320x512."
    )
    parser.add_argument(
        "--video", metavar="IN", help="Repaint this video, folder of PNG frames, or name_%%04d.png. It sets the size."
    )
    parser.add_argument(
        "--strength",
        type=number(float, 0.01, 1),
        metavar="X",
        help=f"How much of --video is made anew, 0.01…1. (default: {STRENGTH})",
    )
    parser.add_argument(
        "--no-interpolate", dest="interpolate", action="store_false", help="Skip the interpolation stage."
    )
    parser.add_argument("--no-upscale", dest="upscale", action="store_false", help="Skip the upscaler stage.")
    add_making_arguments(parser, "base")


def run(args: argparse.Namespace) -> int:
    prompts = _prompts(args.prompt, args.prompt_file)
    outputs = _outputs(args.output, len(prompts))
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(writing(output, args.video, args.prompt_file))
        return _generate(args, prompts, outputs)


def _generate(args: argparse.Namespace, prompts: list[str], outputs: list[str]) -> int:
    strength = _strength(args)
    check_schedule(args, "base", strength)
    source = args.video and read_video(args.video)
    settings = {
        **sampling_settings(args, "base"),
        **size_settings(args),
        "interpolate": args.interpolate,
        "upscale": args.upscale,
        "video": source and source.frames,
        "fps": source and source.fps,
        "strength": strength,
    }
    pipeline, pairs = loaded(args, "CascadePipeline"), zip(prompts, outputs, strict=True)
    require_space(outputs, pipeline.size_made(**settings))
    settings["sound"] = args.video and carried_sound(args.video, outputs[0], pipeline.notify)
    print_results([made(args, pipeline, output, source, prompt, **settings) for prompt, output in pairs], args.json)
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
