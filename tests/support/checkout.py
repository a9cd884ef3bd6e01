"""Where ComfyUI is: COMFYUI_PATH, a checkout, COMFYUI_PYTHON, its Python, and COMFYUI_DEVICE, on which it computes
("cpu" or "cuda"; see docs/comfyui-tests.md)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

COMFYUI = Path(os.environ.get("COMFYUI_PATH", "")).resolve()
DEVICE = os.environ.get("COMFYUI_DEVICE", "cpu")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)

NEEDS_COMFYUI = [
    pytest.mark.comfyui,
    pytest.mark.skipif("COMFYUI_PATH" not in os.environ, reason="COMFYUI_PATH is not set: see docs/comfyui-tests.md"),
]
