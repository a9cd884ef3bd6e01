"""What the package promises its surroundings: ComfyUI loads it from a folder, under a name of its own."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.pack import load_pack
from support.released import models
from support.server import shipped

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
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


def of_host():
    """What ComfyUI brings; another's requirements.txt has replaced many a user's CUDA build of torch."""
    names = {"torch", "numpy", "pillow"}
    return {line for line in listed("dependencies") if line.split(">=")[0] in names}


def listed(key):
    """A list of strings in pyproject.toml; Python 3.10 has no tomllib."""
    (found,) = re.findall(rf"^{key} = \[(.*?)^\]", PYPROJECT, re.S | re.M)
    return set(re.findall(r'"([^"]+)"', re.sub(r"#.*", "", found)))


def test_requirements_and_pyproject_agree():
    declared = listed("dependencies")
    required = set((ROOT / "requirements.txt").read_text(encoding="utf-8").split())
    frontend = {name for name in declared if name.startswith("comfyui-frontend-package")}
    assert len(frontend) == 1, "the frontend is declared in pyproject.toml only: pip would move the host's own"
    assert declared - frontend - of_host() == required


def test_what_the_modules_import_is_installed_with_the_pack():
    """PEFT once was not, so that Train a LoRA failed after minutes of work."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in [*FILES, *sorted((ROOT / "nodes").rglob("*.py"))])
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    # Of the extras "train" and "control": what needs them goes on without, or names them at once. typing_extensions: of
    # torch.
    elsewhere = {"av", "cv2", "scenedetect", "typing_extensions"}
    foreign = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - elsewhere
    required = {line.split(">=")[0].replace("-", "_") for line in (ROOT / "requirements.txt").read_text().split()}
    required |= {line.split(">=")[0] for line in of_host()}
    assert {"pillow" if name == "PIL" else name for name in foreign} <= required


def test_every_module_of_the_pack_is_shipped():
    """.comfyignore once left out lavie/pipelines/streaming/run.py, whose name is that of a script at the root."""
    modules = {str(path.relative_to(ROOT)) for folder in ("lavie", "nodes") for path in (ROOT / folder).rglob("*.py")}
    assert modules <= set(shipped())
    assert not {"run.py", "lab/__init__.py", "tests/conftest.py"} & set(shipped())


def test_the_translations_are_shipped_and_their_sources_are_not():
    assert {f"locales/{language}/nodeDefs.json" for language in ("en", "zh", "ja", "ko")} <= set(shipped())
    assert not {file for file in shipped() if file.startswith("docs/locales/")}


def test_the_zip_of_the_registry_holds_what_runs_in_a_host_and_is_small():
    files = shipped()
    folders = {file.split("/")[0] for file in files}
    assert not {"lab", "tests", "benchmarks", "run.py", ".github", ".ci"} & folders
    assert not [file for file in files if file.startswith("docs/studies/")]
    assert {"lavie", "nodes", "web", "workflows", "subgraphs", "__init__.py", "requirements.txt"} <= folders
    assert sum((ROOT / file).stat().st_size for file in files) <= 45e6


def test_nothing_in_the_zip_installs_packages():
    """The registry flags it, and managers refuse what is flagged."""
    for file in shipped():
        if file.endswith((".py", ".sh")):
            source = (ROOT / file).read_text(encoding="utf-8")
            assert not re.search(r"[\"']pip[\"']|ensurepip|\bimport venv\b|os\.system", source), file


def test_requirements_are_lower_bounds():
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").split():
        assert re.fullmatch(r"[a-z_-]+>=[\d.]+", line)


def test_run_py_installs_what_requirements_leave_to_the_host():
    tree = ast.parse((ROOT / "run.py").read_text(encoding="utf-8"))
    installed = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {line for line in of_host() if not line.startswith("torch")} <= installed
    assert any(str(value).startswith("torch==") for value in installed)


def test_the_registry_shuts_out_no_graphics_card():
    """It shows "GPU not supported" to everybody whose kind is missing, as soon as one kind is named."""
    assert "Operating System :: OS Independent" in listed("classifiers")
    assert not [line for line in listed("classifiers") if line.startswith("Environment :: GPU")]


def test_the_registry_page_has_an_icon_a_banner_links_and_the_released_networks():
    for name in ("Icon", "Banner"):
        (url,) = re.findall(rf'^{name} = "(.*)"$', PYPROJECT, re.M)
        width, height = Image.open(ROOT / url.partition("/HEAD/")[2]).size
        assert (width <= 800 and height <= 400) if name == "Icon" else abs(width / height - 21 / 9) < 0.02
    for name in ("Repository", "Documentation", '"Bug Tracker"'):
        assert re.search(rf'^{name} = "https://github.com/comfyui-lavie/ComfyUI-LaVie', PYPROJECT, re.M)
    urls = re.findall(r'location = "models/lavie", model_url = "(.*)"', PYPROJECT)
    assert urls == [models(stage)[0]["url"] for stage in ("base", "interpolation", "upscaler", "extension")]


def test_a_scanner_finds_every_node_without_running_the_pack():
    tree = ast.parse((ROOT / "nodes" / "__init__.py").read_text(encoding="utf-8"))
    tables = [node for node in tree.body if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)]
    found = {table.target.id: {key.value for key in table.value.keys} for table in tables}
    assert found["NODE_CLASS_MAPPINGS"] == set(load_pack().NODE_CLASS_MAPPINGS)
