"""What an artist sees of a workflow: room for previews, wires from left to right, groups that hold what they name, and
another video at the next Run."""

import json
import re
from itertools import combinations

import pytest
from support.graph import PACK, part
from support.node_info import INFO
from support.pack import ROOT
from support.released import models
from support.workflow import CONTROLS, MUTED, widget_names

from lavie.stages import CASCADE

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"), key=lambda path: path.stem)
NODES = PACK.NODE_CLASS_MAPPINGS
NOTE = "MarkdownNote"
STAGES_AT = {"LaVieLoader": 1, "LaVieTextToVideo": 3, "LaVieCascadeLoader": None}  # which widget says what is loaded
TITLE, ROW, WIDGET, EDGE = 30, 20, 24, 14  # pixels, as the page draws them
PREVIEW = 320  # the pixels that a node grows by when it shows a preview, and words below it, or a video
WORDS = 70  # those of words alone
SHOWING = {"KSampler", "SaveVideo", "PreviewImage", "LaVieLoraTrainer", "LaVieTextToVideo"}
SAYING = {"LaVieVAEDecode", "LaVieVAEEncode"}
SHOWING |= {name for name, node in NODES.items() if issubclass(node, part("nodes.sampler").SamplerNode)}

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def least_height(kind):
    """Of a LaVie node with all the widgets that it has today, whatever it had when the file was saved."""
    if kind not in NODES:
        return 0
    info = INFO[kind]
    widgets = widget_names(info)
    sockets = sum(map(len, info["input_order"].values())) - len(widgets)
    controls = sum(bool(options.get("control_after_generate")) for _, options in widgets)
    rows = max(sockets, len(NODES[kind].RETURN_TYPES), 1)
    return rows * ROW + (len(widgets) + controls) * WIDGET + EDGE


def box(node, preview):
    """Left, top, right, bottom of a node and its title; below it the room for its preview or its words."""
    (left, top), (width, height), kind = node["pos"], node["size"], node["type"]
    room = preview if kind in SHOWING else min(preview, WORDS) if kind in SAYING else 0
    height = max(height, least_height(kind)) + room
    return left, top - TITLE, left + width, top + height


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def inside(node, group):
    left, top, width, height = group["bounding"]
    x, y, right, bottom = box(node, 0)
    return left <= x and top <= y and right <= left + width and bottom <= top + height


def members(workflow, number):
    (group,) = (each for each in workflow["groups"] if each["title"].startswith(f"{number} "))
    return [node for node in workflow["nodes"] if inside(node, group)]


@every_workflow
def test_a_preview_covers_no_other_node(path):
    boxes = {node["id"]: box(node, PREVIEW) for node in read(path)["nodes"]}
    assert [pair for pair in combinations(boxes, 2) if overlap(boxes[pair[0]], boxes[pair[1]])] == []


@every_workflow
def test_wires_lead_to_the_right_or_down(path):
    workflow = read(path)
    boxes = {node["id"]: box(node, 0) for node in workflow["nodes"]}
    for _, source, _, target, *_ in workflow["links"]:
        start, end = boxes[source], boxes[target]
        below = start[0] == end[0] and start[3] <= end[1]
        assert start[2] <= end[0] or below, (source, target)


@every_workflow
def test_every_node_is_in_one_group_and_groups_stand_apart(path):
    workflow = read(path)
    for node in workflow["nodes"]:
        assert sum(inside(node, group) for group in workflow["groups"]) == (node["type"] != NOTE), node["type"]
    areas = [(x, y, x + width, y + height) for x, y, width, height in (g["bounding"] for g in workflow["groups"])]
    assert not any(overlap(*pair) for pair in combinations(areas, 2))


@every_workflow
def test_groups_are_numbered_and_what_says_save_holds_save_video(path):
    workflow = read(path)
    titles = [group["title"] for group in workflow["groups"]]
    assert [title.split()[0] for title in titles] == [str(number + 1) for number in range(len(titles))]
    saving = [title for title in titles if re.search("save|side by side", title, re.I)]
    (number,) = (title.split()[0] for title in saving)
    assert "SaveVideo" in {node["type"] for node in members(workflow, number)}


def test_the_cascade_shows_its_base_frames_alone_while_the_groups_that_its_note_names_are_muted():
    workflow = read(ROOT / "workflows" / "Full cascade.json")
    (note,) = (node["widgets_values"][0] for node in workflow["nodes"] if node["type"] == NOTE)
    first, last = map(int, re.search(r"mute groups (\d) to (\d)", note).groups())
    for number in range(first, last + 1):
        for node in members(workflow, number):
            node["mode"] = MUTED
    left = {node["id"]: node["type"] for node in workflow["nodes"] if node["mode"] != MUTED and node["type"] != NOTE}
    assert {"LaVieBaseSampler", "PreviewImage"} < set(left.values())
    assert not {"LaVieTemporalInterpolator", "LaVieVideoUpscaler", "SaveVideo"} & set(left.values())
    assert {link[1] for link in workflow["links"] if link[3] in left} <= set(left)


@every_workflow
def test_the_next_run_makes_another_video_but_trains_nothing_anew(path):
    workflow = read(path)
    randomize = {node["type"] for node in workflow["nodes"] if "randomize" in (node.get("widgets_values") or ())}
    assert randomize & {*SHOWING, "PrimitiveNode"}
    assert "LaVieLoraTrainer" not in randomize


@every_workflow
def test_no_primitive_has_an_empty_control(path):
    """One that stands for a list of names shows two: what to do after a run, and an empty filter of the names."""
    for node in read(path)["nodes"]:
        if node["type"] == "PrimitiveNode":
            assert node["widgets_values"][1] in CONTROLS
            assert node["outputs"][0]["type"] in ("INT", "FLOAT")


def test_two_nodes_is_an_app_of_what_a_beginner_turns_and_shows_its_video():
    """The `linearData` of a workflow says what ComfyUI's app mode shows of it."""
    workflow = read(ROOT / "workflows" / "Two nodes.json")
    kinds = {node["id"]: node["type"] for node in workflow["nodes"]}
    app = workflow["extra"]["linearData"]
    for number, name in app["inputs"]:
        known = NODES[kinds[number]].INPUT_TYPES()["required"]
        assert not known[name][1].get("advanced"), name
    assert [kinds[number] for number in app["outputs"]] == ["SaveVideo"]


@every_workflow
def test_every_loader_names_the_released_network_of_its_stage_as_the_catalogue_does(path):
    loaders = [node for node in read(path)["nodes"] if node["type"] in STAGES_AT]
    assert loaders
    for node in loaders:
        widget = STAGES_AT[node["type"]]
        stages = CASCADE if widget is None else node["widgets_values"][widget].split(" + ")
        assert node["properties"]["models"] == [network for stage in stages for network in models(stage)]
