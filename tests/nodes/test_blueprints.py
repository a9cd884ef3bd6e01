"""The blueprints of the pack, without ComfyUI: what they wire and turn exists in the nodes that they are made of."""

import pytest
from support.blueprint import INSIDE, OUTSIDE, read, unpacked
from support.node_info import INFO, is_allowed, ours
from support.pack import ROOT
from support.workflow import to_prompt, widget_names

BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
every_blueprint = pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)


def test_there_is_one_of_the_cascade():
    assert [path.stem for path in BLUEPRINTS] == ["LaVie Full Cascade"]


@every_blueprint
def test_every_link_joins_an_output_and_an_input_that_exist_and_that_name_it(path):
    _, subgraph = read(path)
    nodes = {node["id"]: node for node in subgraph["nodes"]}
    for link in subgraph["links"]:
        number, kind = link["id"], link["type"]
        if link["origin_id"] == INSIDE:
            assert number in subgraph["inputs"][link["origin_slot"]]["linkIds"]
        else:
            output = nodes[link["origin_id"]]["outputs"][link["origin_slot"]]
            assert number in output["links"]
            assert output["type"] == kind
        if link["target_id"] == OUTSIDE:
            assert number in subgraph["outputs"][link["target_slot"]]["linkIds"]
        else:
            socket = nodes[link["target_id"]]["inputs"][link["target_slot"]]
            assert socket["link"] == number
            assert kind in socket["type"].split(",")


@every_blueprint
def test_sockets_and_widgets_are_those_of_the_nodes(path):
    _, subgraph = read(path)
    prompt = to_prompt(ours(unpacked(subgraph)), INFO)
    for node in subgraph["nodes"]:
        if node["type"] not in INFO:
            continue
        known = {**INFO[node["type"]]["input"]["required"], **INFO[node["type"]]["input"]["optional"]}
        assert {socket["name"] for socket in node["inputs"]} <= set(known)
        for name, _ in widget_names(INFO[node["type"]]):
            value = prompt[str(node["id"])]["inputs"].get(name, known[name][1]["default"])
            assert isinstance(value, list) or is_allowed(value, *known[name]), (node["type"], name, value)


@every_blueprint
def test_one_prompt_one_model_and_one_seed_are_turned_from_outside(path):
    node, subgraph = read(path)
    assert node["type"] == subgraph["id"]
    assert [socket["name"] for socket in node["inputs"]] == [socket["name"] for socket in subgraph["inputs"]]
    inner = {str(each["id"]): each["type"] for each in subgraph["nodes"]}
    shown = [(inner.get(number), name) for number, name in node["properties"]["proxyWidgets"]]
    seed = [("LaVieBaseSampler", "seed"), ("LaVieBaseSampler", "control_after_generate")]
    assert shown == [(None, "prompt"), (None, "model"), *seed]
    (loader,) = (each["id"] for each in subgraph["nodes"] if each["type"].endswith("Loader"))
    assert [
        link["target_id"] for link in subgraph["links"] if link["origin_slot"] == 1 and link["origin_id"] == INSIDE
    ] == [loader]
