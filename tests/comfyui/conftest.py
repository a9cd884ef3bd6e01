"""Tests in a real ComfyUI: set COMFYUI_PATH to a checkout, COMFYUI_PYTHON to its Python (see docs/comfyui-tests.md)."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    reason = "COMFYUI_PATH is not set: see docs/comfyui-tests.md"
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.comfyui)
            if "COMFYUI_PATH" not in os.environ:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def comfyui():
    """The checkout of ComfyUI."""
    return Path(os.environ["COMFYUI_PATH"]).resolve()


@pytest.fixture(scope="session")
def comfyui_python():
    """The Python that has what ComfyUI needs."""
    return os.environ.get("COMFYUI_PYTHON", sys.executable)
