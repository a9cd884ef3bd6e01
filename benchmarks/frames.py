"""Hashes of the frames that every command and every sampling node makes with lavie-tiny, to compare two checkouts.

    python benchmarks/frames.py --write benchmarks/frames.json [--only TEXT]
    python benchmarks/frames.py --check benchmarks/frames.json [--only TEXT]

Write the table before a change that must not alter any frame, check it after. --check exits 1 if frames differ or a
case fails. Metadata is compared too and every difference is printed, but it does not decide the exit status, because
a change may add fields on purpose. --only runs the cases whose name holds TEXT.

The script relies on flags, node ids and input names alone, so that the same file runs on both checkouts. It uses one
thread of the CPU. Rounding depends on the CPU and on PyTorch: compare tables of one machine.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")  # before PyTorch starts

import numpy as np
import torch
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.frame_cases import COMMANDS, NODES, ROOT, inputs

EXACT = ("--dtype", "float32")  # as bc91704 computed on every CPU


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", type=Path, metavar="FILE", help="make the table")
    what.add_argument("--check", type=Path, metavar="FILE", help="say what differs from the table")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name holds this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    known = {} if args.check is None else json.loads(args.check.read_text(encoding="utf-8"))
    started = time.perf_counter()
    found, errors = measure(args.only)
    seconds = f"{time.perf_counter() - started:.0f} s ({time.process_time():.0f} s of the CPU)"
    print(f"{len(found['frames'])} cases in {seconds}, {len(errors)} failed")
    if args.write is not None:
        args.write.write_text(table_text(found), encoding="utf-8")
        return 1 if errors else 0
    return 1 if compare(known, found, args.only) or errors else 0


def measure(only: str) -> tuple[dict[str, dict], list[str]]:
    """The table of the cases whose name holds `only`, and the names of those that failed."""
    found: dict[str, dict] = {"made_on": machine(), "frames": {}, "metadata": {}}
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        for name, run in cases(Path(folder)):
            if only not in name:
                continue
            started = time.perf_counter()
            try:
                frames, metadata = run()
            except Exception as error:
                errors.append(name)
                print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
                continue
            found["frames"][name] = fingerprint(frames)
            found["metadata"] |= {} if metadata is None else {name: metadata}
            print(f"{time.perf_counter() - started:6.1f} s  {name}", flush=True)
    return found, errors


def cases(folder: Path) -> Iterator[tuple[str, Callable[[], tuple[Any, Any]]]]:
    """Names, and what makes frames and metadata (None: of nodes)."""
    values = inputs(folder)
    for index, line in enumerate(COMMANDS):
        yield line, lambda line=line, index=index: command(line, values, folder / f"out{index}")
    for name, run in NODES.items():
        yield name, lambda run=run: (run(), None)


def command(line: str, values: dict[str, str], out: Path) -> tuple[np.ndarray, list[dict]]:
    """Frames of all videos that a command makes, one after another, and what `--json` says of each."""
    from lavie.cli import main as lavie

    argv = [word.format(**values) for word in shlex.split(line)]
    answer = io.StringIO()
    with contextlib.redirect_stdout(answer):
        code = lavie([argv[0], *EXACT, *argv[1:], "-o", f"{out}/", "--quiet", "--json"])
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise RuntimeError(f"exit status {code}: {answer.getvalue().strip()}")
    videos = json.loads(answer.getvalue())["videos"]
    files = [file for video in videos for file in sorted(Path(video["file"]).glob("*.png"))]
    frames = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    return frames, [{key: value for key, value in video.items() if key not in ("file", "seconds")} for video in videos]


def fingerprint(frames: np.ndarray | Tensor) -> dict[str, Any]:
    """Hash of the bytes; shape, mean and spread give a hint of what differs."""
    array = np.ascontiguousarray(frames)
    digest = hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).hexdigest()
    measures = {"mean": round(float(array.mean(dtype="f8")), 4), "std": round(float(array.std(dtype="f8")), 4)}
    return {"sha256": digest, "dtype": str(array.dtype), "shape": list(array.shape), **measures}


def machine() -> dict[str, str]:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*"]
    made = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {"commit": made, "torch": torch.__version__, "python": platform.python_version(), "cpu": cpu()}


def cpu() -> str:
    """Name and instruction set, on which rounding depends."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = found.get("model name") or platform.processor() or platform.machine()
    model = "/".join(found[key] for key in ("cpu family", "model", "stepping") if key in found)
    return f"{name} ({model}), {torch.backends.cpu.get_cpu_capability()}"


def table_text(found: dict[str, dict]) -> str:
    """JSON with one line per case, for readable diffs."""
    blocks = []
    for key, rows in found.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in rows.items())
        blocks.append(f" {json.dumps(key)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def compare(known: dict[str, dict], found: dict[str, dict], only: str) -> int:
    """Print every difference; returns how many cases have different frames or are on one side only."""
    for key in ("torch", "cpu"):
        before, now = known["made_on"][key], found["made_on"][key]
        if before != now:
            print(f"NOTE: the table was made with another {key} ({before}, here {now}): frames may differ by rounding.")
    differing = 0
    for name in sorted({*known["frames"], *found["frames"]}):
        before, now = known["frames"].get(name), found["frames"].get(name)
        if only in name and before != now:
            differing += 1
            print(f"DIFFERS {name}\n    table: {before and brief(before)}\n    here:  {now and brief(now)}")
    for name in found["metadata"]:
        told = metadata_changes(known["metadata"].get(name), found["metadata"][name])
        if told:
            print("\n    ".join([f"metadata of {name}", *told]))
    print(f"{differing} cases differ" if differing else "all frames are equal")
    return differing


def brief(print_: dict[str, Any]) -> str:
    return "{sha} {dtype} {shape}, mean {mean}, std {std}".format(sha=print_["sha256"][:12], **print_)


def metadata_changes(before: Any, now: Any) -> list[str]:
    old, new = dict(leaves(before)), dict(leaves(now))
    gone = [f"gone: {key} (was {old[key]!r})" for key in old.keys() - new.keys()]
    added = [f"new: {key} = {new[key]!r}" for key in new.keys() - old.keys()]
    changed = [f"{key}: {old[key]!r} -> {new[key]!r}" for key in old.keys() & new.keys() if old[key] != new[key]]
    return sorted(gone) + sorted(added) + sorted(changed)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and values of what is neither dict nor list."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in pairs:
            yield from leaves(below, f"{path}.{key}".lstrip("."))
    else:
        yield path, value


if __name__ == "__main__":
    sys.exit(main())
