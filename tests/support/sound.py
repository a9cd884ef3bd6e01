"""Small videos with sound, and what ffmpeg says about the streams of a file."""

import subprocess
from fractions import Fraction

from support.films import ffmpeg, get_ffmpeg_exe

H264, VP9 = ("-c:v", "libx264", "-pix_fmt", "yuv420p"), ("-c:v", "libvpx-vp9", "-b:v", "200k")
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000")
CODECS = {
    "mp4": (*H264, "-c:a", "aac"),
    "webm": (*VP9, "-c:a", "libopus"),
    "mov": (*H264, "-c:a", "pcm_s16le"),
    "mkv": (*H264, "-c:a", "flac"),
}


def with_sound(path, seconds=2, size="64x48"):
    """A video of 12 frames a second with a tone."""
    video = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=12")
    ffmpeg(*video, *TONE, "-t", seconds, *CODECS[path.suffix[1:]], path)
    return path


def listing(path, streams="0"):
    """ffmpeg's list of packets: stream, decoding time, presentation time, duration, bytes, checksum."""
    command = [get_ffmpeg_exe(), "-v", "error", "-i", path, "-map", streams, "-c", "copy", "-f", "framecrc", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def tracks(path):
    """(codec, seconds) of every stream of a file."""
    lines = listing(path)
    codecs = [line.split(": ")[1] for line in lines if line.startswith("#codec_id")]
    units = [Fraction(line.split(": ")[1]) for line in lines if line.startswith("#tb")]
    ends = [Fraction(0)] * len(codecs)
    for line in (line for line in lines if not line.startswith("#")):
        stream, _, start, length = map(int, line.split(",")[:4])
        ends[stream] = max(ends[stream], (start + length) * units[stream])
    return [(codec, float(end)) for codec, end in zip(codecs, ends, strict=True)]


def packets_of_sound(path):
    """Checksums of the packets of all audio tracks."""
    return [line.split(",")[5].strip() for line in listing(path, "0:a") if not line.startswith("#")]
