"""The examples of a run, by number. Each one depends only on the run's seed and its number, wherever it is read."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch.utils.data import DataLoader, Dataset

from ...errors import LavieError, UsageError
from .clip import Clip, ClipRequest, UnreadableClip
from .mixture import Mixture
from .randomness import draw, generator_of
from .transfer import Packed, pack, unpack

PATIENCE = 20  # broken files in a row; more mean that something else is wrong

Request = ClipRequest | Callable[[int], ClipRequest]


@dataclass(frozen=True)
class Skipped:
    """A file that was skipped, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Example:
    """One example of a run.

    number: step · examples per step + place in the step. images: the images of the joint objective, each "video"
    [3, 1, h, w] or "latents" [4, 1, h, w]. skipped: the broken files that were tried first.
    """

    number: int
    clip: Clip
    images: tuple[Clip, ...]
    skipped: tuple[Skipped, ...]
    seed: int

    def generator(self) -> torch.Generator:
        """A fresh generator for everything that the loss draws for this example: timestep, noise, text dropout.

        It is on the CPU and the same on every call, so the split of examples over processes and micro-batches changes
        nothing.
        """
        return generator_of(self.seed, "loss", self.number)


class TrainingData(Dataset):
    """Examples 0, 1, 2, …: clips of a mixture, each with `num_images` images of another.

    request, image_request: what every example of a step looks like; a function of the step if it changes (picklable if
    workers are spawned). By default, images are as large as the clips. batch_size: examples per step, over all
    processes.
    """

    def __init__(
        self,
        videos: Mixture,
        request: Request,
        batch_size: int,
        seed: int,
        images: Mixture | None = None,
        num_images: int = 0,
        image_request: Request | None = None,
    ) -> None:
        if num_images and images is None:
            raise UsageError("Joint training needs a source of captioned images.")
        self.videos, self.images, self.num_images = videos, images, num_images
        self.request, self.image_request = request, image_request
        self.batch_size, self.seed = batch_size, seed

    def __getitem__(self, number: int) -> Example:
        """Example `number`; broken files are replaced by random rows of the same source and named in `skipped`.

        Raises:
            LavieError: 20 files in a row could not be read.
        """
        request = _at(self.request, number // self.batch_size)
        skipped: list[Skipped] = []
        clip = self._read(self.videos, number, self.batch_size, request, "clip", skipped)
        images = () if self.images is None else self._images(self.images, number, request, skipped)
        return Example(number, clip, images, tuple(skipped), self.seed)

    def _images(self, mixture: Mixture, number: int, request: ClipRequest, skipped: list[Skipped]) -> tuple[Clip, ...]:
        return tuple(
            self._read(
                mixture,
                number * self.num_images + index,
                self.batch_size * self.num_images,
                self._image_request(number, request),
                "image",
                skipped,
            )
            for index in range(self.num_images)
        )

    def _image_request(self, number: int, request: ClipRequest) -> ClipRequest:
        if self.image_request is None:
            return replace(request, num_frames=1, fps=None)
        return _at(self.image_request, number // self.batch_size)

    def _read(
        self, mixture: Mixture, number: int, batch_size: int, request: ClipRequest, kind: str, skipped: list[Skipped]
    ) -> Clip:
        source, row = mixture.pick(number, batch_size, self.seed)
        generator = generator_of(self.seed, kind, number)
        failures: list[UnreadableClip] = []
        while len(failures) < PATIENCE:
            try:
                clip = source.read(row, request, generator)
                skipped += [Skipped(failure.name, failure.reason) for failure in failures]
                return clip
            except UnreadableClip as failure:
                failures.append(failure)
            # It has its own seed, so that it does not matter how much a failed read drew.
            generator = generator_of(self.seed, kind, number, len(failures))
            row = draw(generator, len(source))
        raise LavieError(f"{PATIENCE} files of {source.name} in a row cannot be used, the last one is {failures[-1]}")

    def loader(
        self,
        first_step: int,
        last_step: int,
        process_index: int = 0,
        num_processes: int = 1,
        micro_batch: int = 0,
        workers: int = 0,
    ) -> DataLoader:
        """Micro-batches (lists of examples) of the steps from `first_step` up to, but not including, `last_step`.

        Process r of n gets the r-th part of every step's examples, in consecutive micro-batches (micro_batch 0: all at
        once). `workers` processes read ahead.

        Raises:
            UsageError: the examples of a step cannot be split evenly.
        """
        numbers = MicroBatches(range(first_step, last_step), self.batch_size, process_index, num_processes, micro_batch)
        return _Loader(self, numbers, workers)


class MicroBatches:
    """The numbers of every micro-batch of one process, in order."""

    def __init__(self, steps: range, batch_size: int, process_index: int, num_processes: int, micro_batch: int) -> None:
        share, rest = divmod(batch_size, num_processes)
        self.size = micro_batch or share
        if rest or share % self.size:
            raise UsageError(
                f"{batch_size} examples a step cannot be split over {num_processes} processes in micro-batches of "
                f"{self.size}: choose a batch size that is a multiple of {num_processes * self.size}."
            )
        self.steps, self.batch_size, self.share = steps, batch_size, share
        self.first = process_index * share

    def __len__(self) -> int:
        return len(self.steps) * (self.share // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            start = step * self.batch_size + self.first
            for first in range(start, start + self.share, self.size):
                yield list(range(first, first + self.size))


class _Loader(DataLoader):
    """Passes on examples in one piece, and errors of the workers as they were raised."""

    def __init__(self, data: TrainingData, numbers: MicroBatches, workers: int) -> None:
        super().__init__(
            _Guarded(data) if workers else data,
            batch_sampler=numbers,
            num_workers=workers,
            collate_fn=_packed if workers else list,
            worker_init_fn=_ignore_interrupts,
            generator=torch.Generator(),  # otherwise each pass would draw from the global one
        )

    def __iter__(self) -> Iterator[list[Example]]:
        for batch in super().__iter__():
            if not self.num_workers:
                yield batch
                continue
            examples: list[Example] = []
            for example in unpack(batch):
                if isinstance(example, LavieError):
                    raise example
                examples.append(example)
            yield examples


class _Guarded(Dataset):
    """Returns errors for users as values: if a worker raised one, it would send its traceback instead."""

    def __init__(self, data: TrainingData) -> None:
        self.data = data

    def __getitem__(self, number: int) -> Example | LavieError:
        try:
            return self.data[number]
        except LavieError as error:
            return error


def _packed(examples: list[Example | LavieError]) -> Packed[list[Example | LavieError]]:
    return pack(examples)


def _ignore_interrupts(_: int) -> None:
    """The main process handles Ctrl-C: it finishes its step, for which it needs the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _at(request: Request, step: int) -> ClipRequest:
    return request if isinstance(request, ClipRequest) else request(step)
