"""The node pack, imported as ComfyUI imports it: a package named by nothing but its folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
NAME = "lavie_pack"


def load_pack(folder: Path = ROOT, name: str = NAME) -> ModuleType:
    """The package in `folder`, with `nodes` and `lavie` below it."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
