"""One source of the version: pyproject.toml. Every copy of LaVie tells its own, not that of another on the machine."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMED = '[project]\nname = "lavie-video"\nversion = "7.8.9"\n'


@pytest.fixture
def copy(tmp_path):
    """A folder with as much of the package as tells its version."""
    (tmp_path / "lavie").mkdir()
    for file in ("__init__.py", "errors.py", "version.py"):
        shutil.copy(ROOT / "lavie" / file, tmp_path / "lavie")
    return tmp_path


def told(folder):
    code = "import lavie; print(lavie.__version__)"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, capture_output=True, text=True).stdout


def install(folder, version):
    """What pip writes beside a package."""
    information = folder / "lavie_video-0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: lavie-video\nVersion: {version}\n")


def test_the_version_is_the_one_in_pyproject():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11 and newer
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert told(ROOT) == project["version"] + "\n"


def test_a_clone_tells_its_own_version_though_another_is_installed(copy):
    (copy / "pyproject.toml").write_text(NAMED)
    install(copy, "3.2.1")
    assert told(copy) == "7.8.9\n"


@pytest.mark.parametrize("neighbour", [None, '[project]\nname = "another"\nversion = "7.8.9"\n'])
def test_an_installed_package_tells_what_was_installed(copy, neighbour):
    if neighbour:
        (copy / "pyproject.toml").write_text(neighbour)
    install(copy, "3.2.1")
    assert told(copy) == "3.2.1\n"


def test_a_package_that_was_only_copied_says_that_it_does_not_know(copy):
    assert told(copy) == "unknown\n"


def test_importing_lavie_does_not_look_for_the_version():
    code = "import lavie, sys; assert 'lavie.version' not in sys.modules; lavie.__version__"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
