"""How much memory is free, and how much this process uses."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import torch

from ..errors import UsageError

UNITS = {"M": 10**6, "G": 10**9, "MI": 2**20, "GI": 2**30}


def memory_limit(text: str, device: torch.device) -> int:
    """Bytes of '8GB', '8' (also GB), '500 MB', or 'auto': what is free on the device plus what this process already
    uses.

    Raises:
        UsageError: it is none of these, or this system does not say what is free.
    """
    if text.strip().lower() == "auto":
        return taken(device) + free(device)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG]i?B?)?", text.strip(), re.IGNORECASE)
    if match is None or not float(match[1]):
        raise UsageError(f"'{text}' is no amount of memory; write 8GB, 500MB or auto.")
    return round(float(match[1]) * UNITS[(match[2] or "G").upper().removesuffix("B")])


def taken(device: torch.device) -> int:
    """Bytes that this process uses: tensors on a GPU, or resident memory."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    return _of_proc("/proc/self/status", "VmRSS") or _largest_so_far()


def free(device: torch.device) -> int:
    """Bytes that this process may still take.

    Raises:
        UsageError: this system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - taken(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - taken(device)
    available = _of_proc("/proc/meminfo", "MemAvailable")
    if available is not None:
        return available
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", ()):
        raise UsageError("This system does not tell how much memory is free; give an amount, as --memory 8GB.")
    return max(0, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 - taken(device))  # macOS: half of all


def _of_proc(file: str, field: str) -> int | None:
    """Bytes from Linux's /proc; None elsewhere."""
    path = Path(file)
    if not path.exists():
        return None
    return next(int(line.split()[1]) * 1024 for line in path.read_text().splitlines() if line.startswith(f"{field}:"))


def _largest_so_far() -> int:
    """Peak resident memory, if Unix offers nothing better; 0 elsewhere."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
