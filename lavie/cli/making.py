"""Making videos and reporting them, for every command that does."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..video import write_video
from ..video.space import check_space, expected_bytes
from .arguments import chosen_loras
from .controls import chosen_controls
from .progress import StageProgress

if TYPE_CHECKING:
    from ..config import Family
    from ..pipelines import StreamedVideo
    from ..video import Sound, VideoClip


def loaded(args: argparse.Namespace, kind: str, model: Family | None = None) -> Any:
    """The pipeline of this name as the user asks for it; model: by default that of --model."""
    if sys.stderr.isatty() and not args.quiet:
        print(f"loading {printable(args.model)}", file=sys.stderr)
    from .. import pipelines
    from ..runtime import choose_device
    from ..runtime.free_memory import memory_limit

    memory = None if args.memory is None else memory_limit(args.memory, choose_device(args.device))
    loras = chosen_loras(args) if "loras" in args else []
    controls = chosen_controls(args) if "controls" in args else []
    pipeline = getattr(pipelines, kind).from_pretrained(model or args.model, args.device, args.dtype, memory)
    pipeline.notify = lambda words: None if args.quiet else print(words, file=sys.stderr)
    if loras:
        pipeline.set_loras(loras)
    if controls:
        pipeline.set_controls(controls)
    return pipeline


def made(
    args: argparse.Namespace,
    pipeline: Any,
    output: str,
    source: VideoClip | None,
    *inputs: Any,
    sound: Sound | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Call a pipeline, write its video and describe that; source: the video that is in its inputs."""
    from ..pipelines import StreamedVideo

    started = time.perf_counter()
    with StageProgress(args.quiet) as progress:
        video = pipeline(*inputs, callback=progress, **settings)
    seconds = time.perf_counter() - started
    metadata = {**video.metadata, "source": source.metadata} if source and source.metadata else video.metadata
    write_video(output, video.frames, video.fps, metadata, sound=sound)
    count, height, width = video.frames.shape[:3]
    return described(StreamedVideo(output, count, height, width, video.fps, metadata), seconds)


def require_space(outputs: list[str], size: tuple[int, int, int]) -> None:
    """Refuse videos of so many frames, height and width where the disk has no room for them."""
    check_space(Path(outputs[0]).parent, sum(expected_bytes(output, *size) for output in outputs))


def described(video: StreamedVideo, seconds: float) -> dict[str, Any]:
    """A video on disk, as JSON; seconds: how long it took."""
    measures = {"frames": video.num_frames, "height": video.height, "width": video.width, "fps": video.fps}
    return {"file": video.path, **measures, "seconds": round(seconds, 2), "metadata": video.metadata}


def print_results(results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"videos": results}))
        return
    for made in results:
        shape = "{frames} frames of {height}x{width} at {fps:g} fps".format_map(made)
        print(f"{printable(made['file'])}: {shape}, made in {made['seconds']:.1f} s")
