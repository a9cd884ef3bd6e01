"""The workflows of the pack, without ComfyUI: every LaVie node finds the widgets and sockets that it has."""

import json

import pytest
from support.node_info import INFO, is_allowed, ours
from support.pack import ROOT
from support.workflow import to_prompt

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"), key=lambda path: path.stem)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_widget_of_a_lavie_node_has_a_value_that_it_takes(path):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    prompt = to_prompt(ours(workflow), INFO)
    assert prompt
    for node in prompt.values():
        info = INFO[node["class_type"]]["input"]
        for group in ("required", "optional"):
            for name, (kind, options) in info[group].items():
                value = node["inputs"].get(name)
                if group == "optional" and value is None:
                    continue  # newer than the file: the page takes the default
                if "default" in options and not isinstance(value, list):
                    assert is_allowed(value, kind, options), (node["class_type"], name, value)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_required_socket_of_a_lavie_node_is_wired_to_its_own_kind(path):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    kinds = {link[0]: link[5] for link in workflow["links"]}
    for node in workflow["nodes"]:
        wired = {socket["name"]: kinds.get(socket["link"]) for socket in node.get("inputs", [])}
        for name, spec in INFO.get(node["type"], {"input": {"required": {}}})["input"]["required"].items():
            if "default" not in spec[1]:
                assert wired[name] in spec[0].split(","), (node["type"], name)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_an_image_a_note_and_says_where_its_nodes_come_from(path):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    assert path.with_suffix(".jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    assert any(node["type"] == "MarkdownNote" for node in workflow["nodes"])
    for node in workflow["nodes"]:
        if node["type"] in INFO:
            assert node["properties"]["cnr_id"] == "lavie-video"


# ---------------------------------------------------------------------------------------- the conversion itself

SAMPLE = {"input": {"required": {"image": ["IMAGE"], "seed": ["INT", {}], "steps": ["INT", {}]}}}
SAMPLE["input_order"] = {"required": ["image", "seed", "steps"]}
LOAD = {"input": {"required": {"file": [["a.png"], {"image_upload": True}], "alpha": ["BOOLEAN", {}]}}}
LOAD["input_order"] = {"required": ["file", "alpha"]}


def node(number, kind, values=(), link=None, mode=0, socket="image", type_="IMAGE"):
    inputs = [{"name": socket, "type": type_, "link": link}]
    outputs = [{"type": type_}]
    return {
        "id": number, "type": kind, "mode": mode, "inputs": inputs, "outputs": outputs, "widgets_values": list(values)
    }  # fmt: skip


def prompt_of(*nodes, links):
    return to_prompt({"nodes": nodes, "links": [[*link, "IMAGE"] for link in links]}, {"Sample": SAMPLE, "Load": LOAD})


def test_the_control_of_a_seed_and_the_button_of_an_upload_are_no_widgets():
    prompt = prompt_of(node(1, "Load", ["a.png", "image", True]), node(2, "Sample", [7, "randomize", 20]), links=[])
    assert prompt["1"]["inputs"] == {"file": "a.png", "alpha": True}
    assert prompt["2"]["inputs"] == {"seed": 7, "steps": 20}


def test_bypassed_nodes_and_reroutes_pass_their_input_on_and_muted_ones_do_not():
    load, last = node(1, "Load", ["a.png", "image", True]), node(4, "Sample", [7, "fixed", 20], link=3)
    links = [[1, 1, 0, 2, 0], [2, 2, 0, 3, 0], [3, 3, 0, 4, 0]]
    bypassed = prompt_of(load, node(2, "Sample", link=1, mode=4), node(3, "Reroute", link=2), last, links=links)
    assert set(bypassed) == {"1", "4"}
    assert bypassed["4"]["inputs"]["image"] == ["1", 0]
    muted = prompt_of(load, node(2, "Sample", link=1, mode=2), node(3, "Reroute", link=2), last, links=links)
    assert "image" not in muted["4"]["inputs"]


def test_a_primitive_gives_its_value_and_notes_are_not_sent():
    wired = node(2, "Sample", [7, "fixed", 20], link=1, socket="steps", type_="INT")
    primitive, note = node(1, "PrimitiveNode", [50, "fixed"]), node(3, "MarkdownNote", ["text"])
    prompt = prompt_of(primitive, wired, note, links=[[1, 1, 0, 2, 2]])
    assert prompt == {"2": {"class_type": "Sample", "inputs": {"seed": 7, "steps": 50}}}
