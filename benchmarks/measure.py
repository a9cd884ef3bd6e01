"""Seconds, memory and arithmetic of cases that take turns, and the best that the machine could do."""

from __future__ import annotations

import ctypes
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import torch

from lavie.evaluation.arithmetic import operation_counter

Work = Callable[[], Any]
MATRIX = {"cpu": 2048, "cuda": 8192}


def take_turns(cases: Mapping[str, Work], runs: int, device: torch.device) -> dict[str, dict[str, Any]]:
    """Each case in turn, `runs` times after one that does not count.

    Returns, for each, "seconds" (all runs), "median", and "peak": most bytes beside what there was before.
    """
    found: dict[str, dict[str, Any]] = {name: {"seconds": [], "peak": 0} for name in cases}
    for run in range(runs + 1):
        for name, work in cases.items():
            before = start_of_peak(device)
            seconds = clock(work, device)
            found[name]["peak"] = max(found[name]["peak"], peak(device) - before)
            if run:
                found[name]["seconds"].append(seconds)
    for case in found.values():
        case["median"] = statistics.median(case["seconds"])
    return found


def clock(work: Work, device: torch.device) -> float:
    """Seconds until the work is done, the device's queue included."""
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a matrix product, the best of five."""
    size = MATRIX["cuda" if device.type == "cuda" else "cpu"]
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    clock(lambda: matrix @ matrix, device)
    return max(2 * size**3 / clock(lambda: matrix @ matrix, device) for _ in range(5))


def flops(work: Work) -> int:
    """Of matrix products, convolutions and attention; 2 for a multiply and an add."""
    with operation_counter() as counter, torch.no_grad():
        work()
    return counter.get_total_flops()


def start_of_peak(device: torch.device) -> int:
    """Forget the peak so far; bytes in use now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return _resident("VmRSS")


def peak(device: torch.device) -> int:
    """Most bytes in use since `start_of_peak`; of the process on the CPU (Linux), of tensors on a GPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _resident("VmHWM")


def machine(device: torch.device) -> dict[str, Any]:
    """What a figure needs beside it."""
    import diffusers

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    return {
        "date": date.today().isoformat(),
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
    }


def save(results: dict[str, Any], file: Path | None) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n")


def spread(ratios: list[float]) -> str:
    """'1.62x (1.58 to 1.70)'."""
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})"


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
