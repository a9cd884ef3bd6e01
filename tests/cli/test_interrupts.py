"""Ctrl-C while a command loads: code 130, one line, nothing left; wherever in the imports it comes."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).resolve().parents[2]
AFTER = """
import os, runpy, signal, sys
signal.signal(signal.SIGPROF, lambda *_: os.kill(os.getpid(), signal.SIGINT))
signal.setitimer(signal.ITIMER_PROF, float(sys.argv.pop(1)))
runpy.run_module("lavie", run_name="__main__", alter_sys=True)
"""
COMMAND = ["generate", "a ball", "--frames", "500", "--steps", "1000", "-o"]
DRAW = Random(0)
FEW, MANY = ([DRAW.uniform(0.1, 2.0) for _ in range(count)] for count in (3, 30))


def stopped_after(seconds, folder):
    """Exit code, what was said and what was left, if Ctrl-C comes after so many seconds of one core."""
    process = subprocess.run(
        [sys.executable, "-c", AFTER, str(seconds), *COMMAND, str(folder / "x.mp4")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    return process.returncode, process.stderr, os.listdir(folder)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("seconds", [*FEW, *(pytest.param(each, marks=pytest.mark.slow) for each in MANY)])
def test_ctrl_c_while_loading_ends_with_130_and_one_line(seconds, tmp_path):
    assert stopped_after(seconds, tmp_path) == (
        130,
        "lavie: error: stopped; unfinished files were not written.\n",
        [],
    )
