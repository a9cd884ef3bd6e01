"""What workflow files rely on: ids, inputs, their order, and outputs; and what an artist reads on every node."""

import importlib.util
import json
from pathlib import Path

import pytest
from support.pack import ROOT, load_pack

PACK = load_pack()
NODES = PACK.NODE_CLASS_MAPPINGS
SNAPSHOT = Path(__file__).parents[1] / "node_schema.json"
NUMBERS = ("INT", "FLOAT")


def kind_of(spec):
    return "COMBO" if isinstance(spec[0], list) else spec[0]


def schema(node):
    inputs = node.INPUT_TYPES()
    return {
        "required": [[name, kind_of(spec)] for name, spec in inputs["required"].items()],
        "optional": [[name, kind_of(spec)] for name, spec in inputs.get("optional", {}).items()],
        "outputs": [list(pair) for pair in zip(node.RETURN_NAMES, node.RETURN_TYPES, strict=True)],
    }


def widgets(node):
    inputs = node.INPUT_TYPES()
    return {**inputs["required"], **inputs.get("optional", {})}.items()


def test_old_workflows_keep_loading():
    """Widget values are saved by position. A new input goes to the end and into the snapshot; nothing else changes.

    After appending: PYTHONPATH=.:tests python tests/nodes/test_schema.py
    """
    assert {name: schema(node) for name, node in NODES.items()} == json.loads(SNAPSHOT.read_text())


def test_ids_and_titles():
    assert len(NODES) >= 13
    assert all(name.startswith("LaVie") for name in NODES)
    assert set(PACK.NODE_DISPLAY_NAME_MAPPINGS) == set(NODES)
    assert all(title.startswith("LaVie ") for title in PACK.NODE_DISPLAY_NAME_MAPPINGS.values())


@pytest.mark.parametrize("name", NODES)
def test_every_node_explains_itself(name):
    node = NODES[name]
    assert len(node.DESCRIPTION) > 40
    assert node.SEARCH_ALIASES
    assert node.CATEGORY.split("/")[0] == "LaVie"
    assert len(node.OUTPUT_TOOLTIPS) == len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    for key, spec in widgets(node):
        assert spec[1]["tooltip"], key
        if kind_of(spec) in NUMBERS:
            assert spec[1]["min"] <= spec[1]["default"] <= spec[1]["max"], key
        if kind_of(spec) == "COMBO":
            assert spec[1]["default"] in spec[0], key
        if key == "seed":  # one that changes by itself would train another LoRA at every run
            assert spec[1]["control_after_generate"] == (name != "LaVieLoraTrainer")


@pytest.mark.parametrize("name", NODES)
def test_every_node_has_a_help_page_with_an_image(name):
    docs = ROOT / PACK.WEB_DIRECTORY / "docs"
    page = (docs / f"{name}.md").read_text(encoding="utf-8")
    images = [part.split(")")[0] for part in page.split("](")[1:] if part.split(")")[0].endswith((".jpg", ".png"))]
    assert images
    assert all((docs / Path(image).name).is_file() for image in images)
    assert all(f"`{key}`" in page for key, _ in widgets(NODES[name]))


@pytest.mark.parametrize("name", NODES)
def test_the_table_of_inputs_on_a_help_page_is_the_nodes_own(name):
    spec = importlib.util.spec_from_file_location("make_help", ROOT / "docs" / "make_help.py")
    make_help = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_help)
    for language in make_help.WORDS:
        file = make_help.file_of(name, language)
        if language == "en" or file.exists():  # without one, ComfyUI shows the English page
            page = file.read_text(encoding="utf-8")
            assert page == make_help.page_of(name, NODES[name], language), "run: python docs/make_help.py"


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps({name: schema(node) for name, node in NODES.items()}, indent=1) + "\n")
