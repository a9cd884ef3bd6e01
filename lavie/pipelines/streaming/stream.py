"""Interpolates or upscales videos of any length, from disk to disk."""

from __future__ import annotations

import os
from typing import Any

from ...config import MAX_SIDE
from ...errors import UsageError
from ...job import Callback
from ...video import check_writable
from ..output import StreamedVideo
from .input_video import InputVideo
from .run import AfterSegment, Streamable, StreamRun
from .segment_folder import SegmentFolder
from .segments import Cut, stage_settings
from .settings import run_settings


def stream_video(
    pipeline: Streamable,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    segment: int | None = None,
    restart: bool = False,
    prompt: str | None = None,
    fps: float | None = None,
    callback: Callback | None = None,
    after_segment: AfterSegment | None = None,
    **settings: Any,
) -> StreamedVideo:
    """StreamRun the pipeline on a video or image sequence, in memory that does not grow with its length.

    It works in segments, which overlap, share the noise of their common frames, and fade into each other. Finished ones
    stay in `<output>.parts` until the output is complete: after a stop the same call resumes from them and ends with
    the same frames, bit for bit. For a video of one segment the result is that of the pipeline itself.

    Args:
        segment: input frames per segment, at most; by default ten of the model's windows.
        restart: discard the segments of an earlier run.
        prompt, fps: by default those stored in the input.
        callback: like a pipeline's, but it counts frames of the input; at the end, as stage "video", frames written.
        after_segment: called with the number of finished segments and of all, at first and after each one.
        settings: the pipeline's own.

    Raises:
        UsageError: a setting that cannot work or differs from those of the finished segments, or too little disk space.
        LavieError: the input is damaged, or the disk is full.
    """
    check_writable(output)
    cut = Cut.of(pipeline.stage.config, settings, segment)
    if cut is None:
        raise UsageError("A window of 0 takes all frames at once: say how many frames a segment may have (--segment).")
    video = InputVideo.survey(source)
    _check_video(video, pipeline.stage.spec.min_frames)
    settings |= _within_memory(pipeline, video, cut, settings)
    stored = video.metadata.get("prompt")
    known = stored if isinstance(stored, str) else ""
    asked = {"prompt": known if prompt is None else prompt, "fps": fps or video.fps, "seed": 0, **settings}
    parts = SegmentFolder(output)
    parts.open(run_settings(pipeline, cut, video, asked), restart)
    run = StreamRun(pipeline, video, cut, parts, asked, callback, after_segment)
    try:
        run.check_disk_space(output)
        run.make_segments()
        made = run.assemble(output)
    finally:
        if not parts.has_any():
            parts.remove()
    parts.remove()
    return made


def _within_memory(pipeline: Streamable, video: InputVideo, cut: Cut, settings: dict[str, Any]) -> dict[str, int]:
    """The windows and tiles that all segments must share if memory is limited, even the shorter last one."""
    asked = stage_settings(pipeline.stage.config, settings)
    chosen = pipeline.planned(asked, min(cut.size, video.num_frames), video.height, video.width).config
    names = ("window", "overlap", "tile", "tile_overlap")
    return {name: getattr(chosen, name) for name in names if getattr(chosen, name) != getattr(asked, name)}


def _check_video(video: InputVideo, minimum: int) -> None:
    if video.num_frames < minimum:
        raise UsageError(f"The video has {video.num_frames} frame(s); this stage needs at least {minimum}.")
    if min(video.height, video.width) < 8 or max(video.height, video.width) > MAX_SIDE:
        raise UsageError(f"A video of {video.height}×{video.width} pixels is too small or too large.")
