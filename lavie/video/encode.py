"""Two encoders: a video file through ffmpeg, and numbered PNG files.

Both have `add(frame)`, `finish()`, which moves the complete result into place, and `close()`, which may be called at
any time.
"""

from __future__ import annotations

import errno
import os
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import put_files_in_place, put_in_place
from . import metadata as notes
from .ffmpeg import Ffmpeg, input_file
from .sequence import ImageSequence
from .sound import FORMATS, Sound


class VideoFile:
    """A video file, written through ffmpeg."""

    def __init__(
        self,
        target: Path,
        work: Path,
        shape: tuple[int, ...],
        fps: float,
        metadata: dict[str, Any],
        quality: int,
        sound: Sound | None = None,
    ) -> None:
        self._target, self._made, self._comment = target, work / f"video{target.suffix}", notes.to_json(metadata)
        suffix = target.suffix.lower()
        height, width = shape[:2]
        self._padding = ((0, 0),) * 3 if suffix == ".gif" else ((0, height % 2), (0, width % 2), (0, 0))
        size = f"{width + self._padding[1][1]}x{height + self._padding[0][1]}"
        rate = str(Fraction(fps).limit_denominator(1001))
        settings = work / "settings.txt"
        settings.write_text(notes.ffmetadata(self._comment), encoding="ascii")
        raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", size, "-framerate", rate, "-i", "pipe:0"]
        inputs = [*raw, "-f", "ffmetadata", "-i", f"file:{settings}"]
        streams = ["-map", "0:v", "-map_metadata", "1", "-map_chapters", "-1"]
        if sound is not None:
            inputs += input_file(sound.path)
            streams += ["-map", "2:a", *sound.options(suffix)]
        arguments = ["-y", *inputs, *streams, *_codec(suffix, quality), f"file:{self._made}"]
        self._run = Ffmpeg(arguments, stdin=subprocess.PIPE)

    def add(self, frame: np.ndarray) -> None:
        try:
            self._run.input.write(np.pad(frame, self._padding, mode="edge").tobytes())
        except BrokenPipeError as error:
            raise self._ffmpeg_failure() from error

    def finish(self) -> None:
        try:
            self._run.input.close()
        except OSError as error:
            raise self._ffmpeg_failure() from error
        code, _ = self._run.finish()
        if code != 0:
            raise self._ffmpeg_failure()
        if self._target.suffix.lower() == ".gif":
            bare, self._made = self._made, self._made.with_name("commented.gif")
            notes.copy_with_gif_comment(bare, self._made, self._comment)
        put_in_place(self._made, self._target)

    def close(self) -> None:
        self._run.kill()

    def _ffmpeg_failure(self) -> OSError:
        code, log = self._run.finish()
        if "No space left" in log or "Disk quota" in log:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reason = log.strip().splitlines()[-1] if log.strip() else f"exit code {code}"
        return OSError(errno.EIO, f"ffmpeg: {reason}")


def _codec(suffix: str, quality: int) -> list[str]:
    if suffix == ".gif":
        # One palette per frame, so that ffmpeg need not hold all frames.
        graph = "split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"
        return ["-vf", graph, "-loop", "0", "-f", "gif"]
    colours = ["-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int"]
    colours += ["-pix_fmt", "yuv420p", "-color_range", "tv", "-colorspace", "bt709"]
    colours += ["-color_primaries", "bt709", "-color_trc", "bt709"]
    if suffix == ".webm":
        crf = round(63 - 0.5 * quality)
        speed = ["-deadline", "good", "-cpu-used", "4", "-row-mt", "1"]
        return [*colours, "-c:v", "libvpx-vp9", "-crf", str(crf), "-b:v", "0", *speed, "-f", FORMATS[suffix]]
    crf = round(51 - 0.41 * quality)
    start = [] if suffix == ".mkv" else ["-movflags", "+faststart"]
    return [*colours, "-c:v", "libx264", "-crf", str(crf), *start, "-f", FORMATS[suffix]]


class ImageFiles:
    """Numbered PNG files; the first one carries the settings."""

    def __init__(self, target: ImageSequence, work: Path, place: Path, fps: float, metadata: dict[str, Any]) -> None:
        self._target, self._made, self._place, self._count = target, work / "frames", place, 0
        self._note = notes.to_json({"fps": fps, "metadata": metadata})
        self._made.mkdir()
        if target.whole_folder:
            (self._made / target.note.name).write_text(self._note + "\n", encoding="utf-8")

    def add(self, frame: np.ndarray) -> None:
        from PIL import Image, PngImagePlugin

        text = PngImagePlugin.PngInfo()
        if self._count == 0:
            text.add_text(notes.PNG_KEY, self._note)
        name = self._target.name(self._count)
        Image.fromarray(frame).save(self._made / name, format="PNG", pnginfo=text, compress_level=4)
        self._count += 1

    def finish(self) -> None:
        """A new folder appears at once; in an existing folder an older sequence is replaced."""
        folder = self._target.folder
        if not folder.exists():
            put_in_place(self._made, folder)
            return
        made = {self._target.name(index) for index in range(self._count)}
        older = (file.name for file in self._target.files())
        put_files_in_place(self._made, folder / self._place.name, (name for name in older if name not in made))

    def close(self) -> None:
        pass
