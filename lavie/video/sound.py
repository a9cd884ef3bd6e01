"""The sound of a video file, which goes into the videos made from it: unchanged where their container allows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..atomic import temporary_folder
from . import sequence
from .ffmpeg import ffmpeg_output, input_file
from .target import find_target

# What players expect in each kind of file, as ffmpeg names it. Everything else is encoded as the first one.
HELD = {
    ".mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"),
    ".mov": ("aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le"),
    ".webm": ("opus", "vorbis"),
    ".mkv": ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac", "vorbis", "dts", "truehd", "pcm_s16le", "pcm_s24le"),
}
FORMATS = {".mp4": "mp4", ".mov": "mov", ".webm": "webm", ".mkv": "matroska"}
ENCODERS = {"mp3": "libmp3lame", "opus": "libopus", "vorbis": "libvorbis"}  # the others are named like the codec
LAYOUTS = "aformat=channel_layouts=7.1|5.1|quad|stereo|mono"  # of libopus, which takes no others


@dataclass(frozen=True)
class Sound:
    """The audio tracks of a video file. codecs: of each track, as ffmpeg names them. seconds: silence is added up to
    this length, which takes encoding; 0: they stay as long as they are.
    """

    path: Path
    codecs: tuple[str, ...]
    seconds: float = 0

    def encoded(self, suffix: str) -> list[str]:
        """The tracks' codecs in a file of that kind."""
        return [codec if codec in HELD[suffix] else HELD[suffix][0] for codec in self.codecs]

    def options(self, suffix: str) -> list[str]:
        """ffmpeg's options for the tracks in a file of that kind."""
        options = []
        for track, (before, after) in enumerate(zip(self.codecs, self.encoded(suffix), strict=True)):
            if before == after and not self.seconds:
                options += [f"-c:a:{track}", "copy"]
                continue
            filters = [LAYOUTS] if after == "opus" else []
            filters += [f"apad=whole_dur={self.seconds:.6f}"] if self.seconds else []
            options += [f"-c:a:{track}", ENCODERS.get(after, after)]
            options += [f"-filter:a:{track}", ",".join(filters)] if filters else []
        return options


def find_sound(path: str | os.PathLike[str]) -> Sound | None:
    """The audio tracks of a video; None if it has none, as a GIF or an image sequence."""
    if sequence.find(path) is not None:
        return None
    _, output, _ = ffmpeg_output(
        [*input_file(Path(path)), "-map", "0:a", "-c", "copy", "-t", "0", "-f", "framecrc", "-"]
    )
    codecs = re.findall(r"^#codec_id \d+: (\w+)", output, re.MULTILINE)
    return Sound(Path(path), tuple(codecs)) if codecs else None


def carried_sound(
    source: str | os.PathLike[str], output: str | os.PathLike[str], notify: Callable[[str], None], seconds: float = 0
) -> Sound | None:
    """The sound of `source`, for a video that will be written to `output`; None if there is none or it cannot go along.

    notify: gets a sentence if sound is left out or encoded in another way. seconds: as `Sound.seconds`.
    """
    found = find_sound(source)
    if found is None:
        return None
    sound, target = Sound(found.path, found.codecs, seconds), find_target(output)
    if isinstance(target, sequence.ImageSequence) or target.suffix.lower() not in HELD:
        notify(f"{output} cannot hold sound, so that of {source} is left out. Videos with sound: {', '.join(HELD)}.")
        return None
    suffix = target.suffix.lower()
    failure = _failure(sound, suffix)
    if failure:
        notify(f"The sound of {source} is left out: {failure}.")
        return None
    for before, after in zip(sound.codecs, sound.encoded(suffix), strict=True):
        if before != after:
            notify(f"The sound of {source} is encoded again, from {before} to {after}, for a {suffix} file.")
    return sound


def _failure(sound: Sound, suffix: str) -> str:
    """Why ffmpeg cannot put the first second of the sound into a file of that kind; empty if it can.

    Tried before any work, because a failure at the end would lose the video.
    """
    short = Sound(sound.path, sound.codecs, min(sound.seconds, 1))
    with temporary_folder() as folder:
        written = ["-t", "1", "-f", FORMATS[suffix], f"file:{folder}/sound"]
        code, _, log = ffmpeg_output([*input_file(sound.path), "-map", "0:a", *short.options(suffix), *written])
    reason = log.strip().splitlines()[-1] if log.strip() else f"exit code {code}"
    return "" if code == 0 else f"ffmpeg says: {reason}"
