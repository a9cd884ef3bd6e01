"""The version of this copy of LaVie: written in one place, pyproject.toml, where the ComfyUI registry reads it."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

NAME = "lavie-video"


def version() -> str:
    """From pyproject.toml beside the package (a clone, even if a wheel is also installed), else the wheel's."""
    project = Path(__file__).parents[1] / "pyproject.toml"
    text = project.read_text(encoding="utf-8") if project.is_file() else ""
    found = re.search(rf'^name = "{NAME}"\nversion = "([^"]+)"', text, re.MULTILINE)
    try:
        return found[1] if found else metadata.version(NAME)
    except metadata.PackageNotFoundError:
        return "unknown"
