"""What an artist wires into LaVie acts, or is refused in words, as docs/wires.md says.

The folder wires/ runs once, with ComfyUI's Python; the tests read what it found. COMFYUI_PACKS names a folder with
checkouts of other packs; without it their lines are left out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.checkout import COMFYUI, NEEDS_COMFYUI, PYTHON

WIRES = Path(__file__).parent / "wires"
sys.path.insert(0, str(WIRES))
from page import PAGE, written  # noqa: E402
from rows import REFUSED  # noqa: E402
from table import SECTIONS  # noqa: E402

LINES = [(section, row) for section in SECTIONS for row in section.rows]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = os.environ.get("COMFYUI_PACKS")
    packs = sorted(path for path in Path(folder).iterdir() if path.is_dir()) if folder else []
    command = [PYTHON, "-B", str(WIRES), str(COMFYUI), str(tmp_path_factory.mktemp("base")), *map(str, packs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{")))


def test_the_page_says_what_the_table_says():
    page = PAGE.read_text(encoding="utf-8")
    assert written(page) == page


def test_the_page_covers_sixty_core_nodes_and_six_packs():
    assert len({row.node for _, row in LINES if not row.pack}) >= 60
    assert len({row.pack for _, row in LINES if row.pack}) >= 6


@pytest.mark.parametrize(("section", "row"), LINES, ids=[f"{section.title}: {row.node}" for section, row in LINES])
@pytest.mark.comfyui
@NEEDS_COMFYUI[1]
def test_what_is_wired_in_does_what_the_page_says(found, section, row):
    key = row.key(section.title)
    if key not in found:
        pytest.skip("this ComfyUI, or COMFYUI_PACKS, has no such node")
    for sampler, expected in (("ours", row.ours), ("core", row.core)):
        told = found[key].get(sampler, expected)
        if expected != REFUSED:
            assert told == expected
            continue
        assert told.startswith(f"{REFUSED}: "), told
        assert told.endswith(".")
        assert row.says in told
