"""Device and precision."""

from __future__ import annotations

import torch

from ..errors import UsageError

MAX_ELEMENTS = 2**26  # of one float32 tensor of a clip that may stay on a GPU: 256 MiB
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The requested device; by default a CUDA card, else Apple's GPU, else the CPU.

    Raises:
        UsageError: the device is not available.
    """
    if device is None or str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise UsageError(f"Unknown device '{device}'. Choose auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("There is no CUDA device here. Choose device cpu.")
    return device


def choose_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The requested precision; by default float16 on a GPU, bfloat16 on a CPU that computes with it, else float32."""
    if dtype is None or dtype == "auto":
        if device.type != "cpu":
            return torch.float16
        return torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    if isinstance(dtype, str):
        if dtype not in DTYPES:
            raise UsageError(f"Unknown dtype '{dtype}'. Choose auto, {', '.join(DTYPES)}.")
        dtype = DTYPES[dtype]
    return dtype


def vae_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The precision of the VAE beside a network of `dtype`: float32, which Stable Diffusion's VAEs need on a GPU in
    float16, but bfloat16 on a CPU that runs the network in it."""
    return dtype if device.type == "cpu" and dtype == torch.bfloat16 else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16); emulated, it is slower than float32."""
    return getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()  # torch ≥ 2.6


def storage_device(num_elements: int, device: torch.device) -> torch.device:
    """Where to keep a clip's tensor of this many numbers: on `device`, or in main memory if it is very long or large.
    The networks still see windows and tiles of it on `device`.
    """
    return device if num_elements <= MAX_ELEMENTS else torch.device("cpu")
