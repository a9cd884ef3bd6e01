"""What the package promises its surroundings: ComfyUI loads it from a folder, under a name of its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.server import shipped

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "lavie").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_import_each_other_relatively_and_nothing_of_comfyui(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    assert not {name.split(".")[0] for name in names} & {"lavie", "nodes", "comfy", "folder_paths", "torchvision"}


def test_importing_lavie_loads_no_torch_and_touches_no_network():
    code = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError("network at import")
socket.socket.connect = refuse
import lavie
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_requirements_and_pyproject_agree():
    import re

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = re.search(r"^dependencies = \[(.*?)^\]", text, re.S | re.M).group(1)
    declared = set(re.findall(r'"([^"]+)"', declared))
    required = set((ROOT / "requirements.txt").read_text(encoding="utf-8").split())
    frontend = {name for name in declared if name.startswith("comfyui-frontend-package")}
    assert len(frontend) == 1, "the frontend is declared in pyproject.toml only: pip would move the host's own"
    assert declared - frontend == required


def test_what_the_modules_import_is_installed_with_the_pack():
    """PEFT once was not, so that Train a LoRA failed after minutes of work."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in [*FILES, *sorted((ROOT / "nodes").rglob("*.py"))])
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    # Of the extra "train": what needs them goes on without, or names them at once. typing_extensions: of torch.
    elsewhere = {"av", "scenedetect", "typing_extensions"}
    foreign = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - elsewhere
    required = {line.split(">=")[0].replace("-", "_") for line in (ROOT / "requirements.txt").read_text().split()}
    assert {"pillow" if name == "PIL" else name for name in foreign} <= required


def test_every_module_of_the_pack_is_shipped():
    """.comfyignore once left out lavie/pipelines/streaming/run.py, whose name is that of a script at the root."""
    modules = {str(path.relative_to(ROOT)) for folder in ("lavie", "nodes") for path in (ROOT / folder).rglob("*.py")}
    assert modules <= set(shipped())
    assert not {"run.py", "lab/__init__.py", "tests/conftest.py"} & set(shipped())


def test_the_translations_are_shipped_and_their_sources_are_not():
    assert {f"locales/{language}/nodeDefs.json" for language in ("en", "zh", "ja", "ko")} <= set(shipped())
    assert not {file for file in shipped() if file.startswith("docs/locales/")}
