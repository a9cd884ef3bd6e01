"""The lab stands beside `lavie`, which does without it and says where to find it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FAMILY = ("--family", "family", "--run", "run", "--steps", "1")


def run(folder, module, *arguments):
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("train", "base", "--videos", "world:8", *FAMILY, "--init", "lavie-tiny"), "python -m lab train"),
        (("evaluate", "upscaler"), "python -m lab evaluate"),
        (("evaluate", "fidelity"), "python -m lab evaluate"),
    ],
)
def test_what_only_the_lab_has_is_refused_in_a_sentence_that_names_it(tmp_path, arguments, told):
    pytest.importorskip("accelerate")
    ended = run(tmp_path, "lavie", *arguments)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert told in ended.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_lab_adds_its_suites_to_the_same_commands(tmp_path):
    for command, words in (("train", ("upscaler", "lora")), ("evaluate", ("fidelity", "--stills", "speed"))):
        shown = run(tmp_path, "lab", command, "--help").stdout
        assert all(word in shown for word in words)


def test_neither_lavie_nor_the_nodes_import_the_lab():
    for folder in ("lavie", "nodes"):
        for file in (ROOT / folder).rglob("*.py"):
            lines = file.read_text(encoding="utf-8").splitlines()
            assert not [line for line in lines if line.strip().startswith(("from lab", "import lab"))], file


def test_the_lab_is_left_out_of_the_wheel_and_of_the_registry():
    find = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[tool.setuptools.packages.find]")[1]
    assert find.split("[")[1].startswith('"lavie", "lavie.*"]')
    assert "/lab/" in (ROOT / ".comfyignore").read_text(encoding="utf-8").splitlines()
