"""Long videos cut into scenes, by PySceneDetect."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError
from .clip import UnreadableClip

THRESHOLD = 27.0  # PySceneDetect's default, for the change in hue, saturation and lightness, 0…255
SHORTEST = 0.6  # seconds


def cut_scenes(video: Path, threshold: float = THRESHOLD) -> list[tuple[float, float]]:
    """Start and end of every scene in seconds, in order; a single scene if there are no cuts.

    Raises:
        UnreadableClip: the video cannot be read.
        UsageError: PySceneDetect is not installed.
    """
    try:
        from scenedetect import (  # pyright: ignore[reportMissingImports] (an extra)
            AVAILABLE_BACKENDS,
            ContentDetector,
            SceneManager,
            VideoOpenFailure,
            open_video,
        )
    except ImportError as error:
        raise UsageError('Cutting scenes needs PySceneDetect: pip install "scenedetect".') from error
    backend = "pyav" if "pyav" in AVAILABLE_BACKENDS else "opencv"
    try:
        stream = open_video(str(video), backend=backend)
        manager = SceneManager()
        manager.add_detector(ContentDetector(threshold, min_scene_len=max(1, round(SHORTEST * stream.frame_rate))))
        manager.detect_scenes(stream)
        scenes = manager.get_scene_list(start_in_scene=True)
    except (VideoOpenFailure, OSError, ValueError) as error:
        raise UnreadableClip(str(video), f"its scenes cannot be found ({error})") from error
    return [(start.get_seconds(), end.get_seconds()) for start, end in scenes]
