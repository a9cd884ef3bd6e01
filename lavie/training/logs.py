"""What a run reports: log.jsonl, TensorBoard, a progress bar, and the files that it had to skip."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ..atomic import written_whole
from ..bounded import MAX_REMEMBERED, Rule, parse_json, read_text, whole, word
from ..errors import LavieError, printable

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch.utils.tensorboard import SummaryWriter

    from .data.dataset import Skipped

log = logging.getLogger(__name__)

FILE = "log.jsonl"
MAX_FRAMES = 8  # of a clip in TensorBoard, side by side


@dataclass(frozen=True)
class Line:
    """Averages over the steps since the line before. step: how many are done. seconds: of training, all in all."""

    step: int
    seconds: float
    samples_per_second: float
    learning_rate: float
    terms: dict[str, float]

    def to_json(self) -> str:
        values = asdict(self)
        terms = {name: float(f"{value:.7g}") for name, value in values.pop("terms").items()}
        return json.dumps({name: float(f"{value:.7g}") for name, value in values.items()} | {"step": self.step} | terms)


class RunLog:
    """Collects the terms of every step on the device, and reads them only when a line is due."""

    def __init__(
        self, folder: Path, accelerator: Accelerator, batch_size: int, first: int, steps: int, seconds: float = 0.0
    ) -> None:
        self.folder, self.accelerator, self.batch_size = folder, accelerator, batch_size
        self._steps: list[dict[str, Tensor]] = []
        self._done, self._spent, self._started = first, seconds, time.monotonic()
        self._last = seconds
        self._is_main = accelerator.is_main_process
        self._board = _tensorboard(folder / "tensorboard", first) if self._is_main else None
        self._bar = tqdm(
            total=steps * batch_size,
            initial=first * batch_size,
            unit=" samples",
            mininterval=1,
            disable=not self._is_main,
        )
        if self._is_main:
            _forget_after(folder / FILE, first)

    @property
    def seconds(self) -> float:
        """How long the run has trained, earlier parts of it included."""
        return self._spent + time.monotonic() - self._started

    def add(self, terms: dict[str, Tensor]) -> None:
        """Note one step; its terms are scalars that need no gradient.

        Raises:
            LavieError: a term is NaN or infinite (told at once on the CPU, else when the line is due).
        """
        self._steps.append(terms)
        self._done += 1
        self._bar.update(self.batch_size)
        if self.accelerator.num_processes == 1 and self.accelerator.device.type == "cpu":
            self._check(torch.stack(list(terms.values()))[None])

    def flush(self, rate: float) -> Line | None:
        """Write a line of averages over all processes; None where nothing is new."""
        if not self._steps:
            return None
        names = list(self._steps[0])
        values = torch.stack([torch.stack([terms[name].float() for name in names]) for terms in self._steps])
        values = cast("Tensor", self.accelerator.reduce(values, "mean"))
        self._check(values)
        means = dict(zip(names, values.double().mean(0).tolist(), strict=True))
        seconds = self.seconds
        speed = len(self._steps) * self.batch_size / max(seconds - self._last, 1e-9)
        line = Line(self._done, seconds, speed, rate, means)
        self._steps, self._last = [], seconds
        if self._is_main:
            self._write(line)
        return line

    def samples(self, clips: dict[str, np.ndarray]) -> None:
        """Show clips, uint8 [frames, height, width, 3], in TensorBoard: frames side by side."""
        if self._board is None:
            return
        for name, frames in clips.items():
            chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), MAX_FRAMES)).round().astype(int)]
            self._board.add_image(
                f"samples/{name}", np.concatenate(list(chosen), axis=1), self._done, dataformats="HWC"
            )

    def close(self) -> None:
        self._bar.close()
        if self._board is not None:
            self._board.close()

    def _write(self, line: Line) -> None:
        with (self.folder / FILE).open("a", encoding="utf-8") as file:
            file.write(line.to_json() + "\n")
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in line.terms.items()} | {"step": line.step})
        if self._board is not None:
            for name, value in line.terms.items():
                self._board.add_scalar(f"train/{name}", value, line.step)
            self._board.add_scalar("train/learning_rate", line.learning_rate, line.step)
            self._board.add_scalar("train/samples_per_second", line.samples_per_second, line.step)

    def _check(self, values: Tensor) -> None:
        bad = (~values.isfinite()).any(1)
        if bad.any():
            step = self._done - len(bad) + 1 + int(bad.int().argmax())
            raise LavieError(
                f"The loss is no longer a number at step {step}. Start the same command again, which goes on from the "
                "last checkpoint, with a lower --learning-rate or a longer --warmup, and with bf16 instead of fp16."
            )


class SkippedFiles:
    """The files that could not be read, each named once in skipped.jsonl, and in the log when it is met."""

    FILE = "skipped.jsonl"

    def __init__(self, folder: Path) -> None:
        self._file = folder / self.FILE
        if self._file.exists() and not self._file.read_bytes().endswith(b"\n"):
            with self._file.open("a", encoding="utf-8") as lines:  # end the line in which a run was killed
                lines.write("\n")
        self._known = {entry["name"] for entry in self.entries()}

    def add(self, files: Iterable[Skipped]) -> None:
        for file in files:
            if file.name not in self._known:
                self._known.add(file.name)
                log.warning("Skipped %s: %s", printable(file.name), printable(file.reason))
                with self._file.open("a", encoding="utf-8") as lines:  # one write, so that processes may share the file
                    lines.write(json.dumps({"name": file.name, "reason": file.reason}, ensure_ascii=False) + "\n")

    def entries(self) -> list[dict[str, Any]]:
        """name and reason of every file, those that other processes skipped included."""
        if not self._file.exists():
            return []
        return list(
            {entry["name"]: entry for _, entry in _lines(self._file, {"name": word(), "reason": word()})}.values()
        )


def _lines(file: Path, rules: Mapping[str, Rule]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of a file of JSON lines with the fields in them; those that a stop cut off are left out."""
    for line in read_text(file, MAX_REMEMBERED).splitlines():
        try:
            values = parse_json(line, str(file))
        except LavieError:
            continue
        if all(name in values and rule(values[name]) for name, rule in rules.items()):
            yield line, values


def _forget_after(file: Path, step: int) -> None:
    """Drop the lines that a run wrote after the checkpoint from which it now goes on."""
    if not file.exists():
        return
    kept = [line for line, values in _lines(file, {"step": whole(0, 1 << 63)}) if values["step"] <= step]
    with written_whole(file) as partial:
        partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _tensorboard(folder: Path, first: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning('TensorBoard is not installed, so only %s is written (pip install "tensorboard").', FILE)
        return None
    return SummaryWriter(folder, purge_step=first)
