"""Small real films for tests: the brightness of the right half is 10 times the number of the frame."""

import subprocess
from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe

STEP = 10
H264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p")


def ffmpeg(*arguments, content=None):
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)], input=content, check=True)


def numbered(count, height=48, width=64):
    """Frames uint8 [count, height, width, 3]."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:] = (STEP * np.arange(count, dtype=np.uint8))[:, None, None, None]
    frames[:, :, : width // 4] = (200, 40, 40)
    return frames


def make_film(path, frames=24, fps=24, height=48, width=64, options=H264) -> Path:
    """A film at `path`; frames: a number, or uint8 [frames, height, width, 3]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = numbered(frames, height, width) if isinstance(frames, int) else frames
    size = f"{images.shape[2]}x{images.shape[1]}"
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", fps, "-i", "-")
    ffmpeg(*raw, *options, path, content=images.tobytes())
    return path


def make_captioned(path, caption="a film of numbers", **how) -> Path:
    make_film(path, **how)
    path.with_suffix(".txt").write_text(caption, "utf-8")
    return path


def numbers_in(video) -> list[int]:
    """The numbers of the frames of video [3, frames, height, width]."""
    right = (video[:, :, :, video.shape[-1] // 2 :] + 1) * 127.5
    return (right.mean((0, 2, 3)) / STEP).round().int().tolist()
