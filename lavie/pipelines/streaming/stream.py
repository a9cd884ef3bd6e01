"""Interpolates or upscales videos of any length, from disk to disk: first their segments, then the joined output."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from ...checks import check_video
from ...errors import UsageError
from ...job import Callback
from ...video import Sound, VideoWriter, carried_sound, check_frame_rate, writing
from ...video.space import check_space, expected_bytes
from ..interpolate import InterpolationPipeline
from ..output import StreamedVideo
from ..upscale import UpscalePipeline
from .crossfade import crossfaded
from .input_video import InputVideo
from .segment_folder import SegmentFolder
from .segments import Cut, pieces_of, stage_settings
from .settings import run_settings

Streamable = InterpolationPipeline | UpscalePipeline
AfterSegment = Callable[[int, int], None]  # (finished, all)


def stream_video(
    pipeline: Streamable,
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    segment: int | None = None,
    restart: bool = False,
    prompt: str | None = None,
    fps: float | None = None,
    output_fps: float | None = None,
    callback: Callback | None = None,
    after_segment: AfterSegment | None = None,
    **settings: Any,
) -> StreamedVideo:
    """Run the pipeline on a video or image sequence, in memory that does not grow with its length.

    It works in segments, which overlap, share the noise of their common frames, and fade into each other. Finished ones
    stay in `<output>.parts` until the output is complete: after a stop the same call resumes from them and ends with
    the same frames, bit for bit. For a video of one segment the result is that of the pipeline itself.

    Args:
        segment: input frames per segment, at most; by default ten of the model's windows.
        restart: discard the segments of an earlier run.
        prompt, fps: by default those stored in the input.
        output_fps: by default the output lasts as long as the input. The input's sound goes with it.
        callback: like a pipeline's, but it counts frames of the input; at the end, as stage "video", frames written.
        after_segment: called with the number of finished segments and of all, at first and after each one.
        settings: the pipeline's own.

    Raises:
        UsageError: a setting that cannot work or differs from those of the finished segments, or too little disk space.
        LavieError: the input is damaged, or the disk is full.
    """
    parts = SegmentFolder(output)
    with writing(output, source), parts.claimed():
        cut = Cut.of(pipeline.stage.config, settings, segment)
        if cut is None:
            raise UsageError(
                "A window of 0 takes all frames at once: say how many frames a segment may have (--segment)."
            )
        video = InputVideo.survey(source)
        check_video((video.num_frames, video.height, video.width), pipeline.stage.spec.min_frames)
        rate = output_fps or pipeline.stage.spec.rate_made(video.num_frames, fps or video.fps)
        check_frame_rate(rate)
        sound = carried_sound(source, output, pipeline.notify)
        settings |= _within_memory(pipeline, video, cut, settings)
        stored = video.metadata.get("prompt")
        known = stored if isinstance(stored, str) else ""
        asked = {"prompt": known if prompt is None else prompt, "fps": fps or video.fps, "seed": 0, **settings}
        parts.open(run_settings(pipeline, cut, video, asked), restart)
        run = StreamRun(pipeline, video, cut, parts, asked, callback, after_segment)
        try:
            run.check_disk_space(output)
            run.make_segments()
            made = run.assemble(output, rate, sound)
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


@dataclass(frozen=True)
class StreamRun:
    """One run. asked: the pipeline's arguments, for every segment; the rest as in `stream_video`."""

    pipeline: Streamable
    video: InputVideo
    cut: Cut
    parts: SegmentFolder
    asked: dict[str, Any]
    callback: Callback | None = None
    after_segment: AfterSegment | None = None

    @cached_property
    def segments(self) -> list[slice]:
        return self.cut.segments(self.video.num_frames)

    def missing(self) -> list[int]:
        """The numbers of the unfinished segments."""
        return [number for number in range(len(self.segments)) if not self.parts.has(number)]

    def check_disk_space(self, output: str | os.PathLike[str]) -> None:
        """Refuse a run whose rest does not fit on the disk."""
        spec = self.pipeline.stage.spec
        lengths = [self.segments[number].stop - self.segments[number].start for number in self.missing()]
        size = self.video.height * spec.enlargement, self.video.width * spec.enlargement
        in_segments = expected_bytes("segment/", sum(map(spec.frames_made, lengths)), *size)
        in_output = expected_bytes(output, spec.frames_made(self.video.num_frames), *size)
        check_space(self.parts.folder, in_segments + in_output)

    def make_segments(self) -> None:
        """Make the unfinished segments, one after the other."""
        missing = self.missing()
        self._report_segment(len(self.segments) - len(missing))
        with closing(self.video.frames()) as frames:
            pieces = pieces_of(frames, [self.segments[number] for number in missing])
            for left, (number, piece) in enumerate(zip(missing, pieces, strict=True), start=1 - len(missing)):
                first_frame = self.segments[number].start if len(self.segments) > 1 else None
                made = self.pipeline(piece, first_frame=first_frame, callback=self._counting(number), **self.asked)
                self.parts.write(number, made)
                self._report_segment(len(self.segments) + left)

    def assemble(self, output: str | os.PathLike[str], fps: float, sound: Sound | None) -> StreamedVideo:
        """Write the output from all segments, frame by frame."""
        info, count = self.parts.info(0), len(self.segments)
        total = self.pipeline.stage.spec.frames_made(self.video.num_frames)
        overlap = self.pipeline.stage.spec.frames_made(self.cut.overlap) if self.cut.overlap else 0
        metadata = dict(info.metadata)
        if count > 1:
            metadata |= {"segment": self.cut.size, "segment_overlap": self.cut.overlap}
        if self.video.metadata:
            metadata["source"] = self.video.metadata
        with VideoWriter(output, fps, metadata, sound=sound) as writer:
            for done, frame in enumerate(crossfaded(map(self.parts.frames, range(count)), overlap), start=1):
                writer.write(frame)
                if self.callback is not None:
                    self.callback("video", done, total, 0.0, None)
        return StreamedVideo(os.fspath(output), total, info.height, info.width, fps, metadata)

    def _report_segment(self, finished: int) -> None:
        if self.after_segment is not None:
            self.after_segment(finished, len(self.segments))

    def _counting(self, number: int) -> Callback | None:
        """A segment's callback that reports how many frames of the whole video are done."""
        callback = self.callback
        if callback is None:
            return None
        done = start = self.segments[number - 1].stop if number else 0
        length = self.segments[number].stop - start

        def report(stage: str, step: int, steps: int, timestep: float, x0: Tensor | None) -> None:
            nonlocal done
            if stage == self.pipeline.stage_name:
                done = start + length * step // steps
            callback(self.pipeline.stage_name, done, self.video.num_frames, timestep, x0)

        return report
