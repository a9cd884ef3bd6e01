"""One video on its way through a pipeline: first its segments, then the joined output."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from ...job import Callback
from ...video import VideoWriter
from ..interpolate import InterpolationPipeline
from ..output import StreamedVideo
from ..upscale import UpscalePipeline
from .crossfade import crossfaded
from .disk_space import check_disk_space, needed_bytes
from .input_video import InputVideo
from .segment_folder import SegmentFolder
from .segments import Cut, pieces_of

Streamable = InterpolationPipeline | UpscalePipeline
AfterSegment = Callable[[int, int], None]  # (finished, all)


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
        """Raise UsageError if the rest does not fit on the disk."""
        pixels = self.video.height * self.video.width * self.pipeline.stage.spec.enlargement**2
        lengths = [self.segments[number].stop - self.segments[number].start for number in self.missing()]
        in_segments = pixels * sum(map(self.pipeline.stage.spec.frames_made, lengths))
        in_video = pixels * self.pipeline.stage.spec.frames_made(self.video.num_frames)
        check_disk_space(self.parts.folder, needed_bytes(output, in_segments, in_video))

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

    def assemble(self, output: str | os.PathLike[str]) -> StreamedVideo:
        """Write the output from all segments, frame by frame."""
        info, count = self.parts.info(0), len(self.segments)
        total = self.pipeline.stage.spec.frames_made(self.video.num_frames)
        overlap = self.pipeline.stage.spec.frames_made(self.cut.overlap) if self.cut.overlap else 0
        metadata = dict(info.metadata)
        if count > 1:
            metadata |= {"segment": self.cut.size, "segment_overlap": self.cut.overlap}
        if self.video.metadata:
            metadata["source"] = self.video.metadata
        with VideoWriter(output, info.fps, metadata) as writer:
            for done, frame in enumerate(crossfaded(map(self.parts.frames, range(count)), overlap), start=1):
                writer.write(frame)
                if self.callback is not None:
                    self.callback("video", done, total, 0.0, None)
        return StreamedVideo(os.fspath(output), total, info.height, info.width, info.fps, metadata)

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
