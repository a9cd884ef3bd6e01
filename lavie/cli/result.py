"""Writing the video and reporting it, for every command that makes one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..video import write_video

if TYPE_CHECKING:
    from ..pipelines import StreamedVideo, VideoOutput


def write_result(path: str, video: VideoOutput, seconds: float, source: dict[str, Any] | None = None) -> dict[str, Any]:
    """Write the video and describe it; seconds: how long it took; source: metadata of the input video."""
    metadata = {**video.metadata, "source": source} if source else video.metadata
    write_video(path, video.frames, video.fps, metadata)
    return _described(path, video.frames.shape[:3], video.fps, seconds, metadata)


def describe_streamed(video: StreamedVideo, seconds: float) -> dict[str, Any]:
    """Describe a video that is already on disk."""
    return _described(video.path, (video.num_frames, video.height, video.width), video.fps, seconds, video.metadata)


def print_results(results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"videos": results}))
        return
    for made in results:
        shape = "{frames} frames of {height}x{width} at {fps:g} fps".format_map(made)
        print(f"{made['file']}: {shape}, made in {made['seconds']:.1f} s")


def _described(
    path: str, shape: tuple[int, ...], fps: float, seconds: float, metadata: dict[str, Any]
) -> dict[str, Any]:
    measures = {**dict(zip(("frames", "height", "width"), shape, strict=True)), "fps": fps}
    return {"file": path, **measures, "seconds": round(seconds, 2), "metadata": metadata}
