"""A blueprint of the frontend (a subgraph that ComfyUI offers as a node) as the workflow that is inside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

INSIDE, OUTSIDE = -10, -20  # the frontend's ids of where a subgraph's inputs come in and its outputs go out

Json = dict[str, Any]


def read(path: Path) -> tuple[Json, Json]:
    """The node that the blueprint puts on the canvas, and its subgraph."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    (node,), (subgraph,) = workflow["nodes"], workflow["definitions"]["subgraphs"]
    return node, subgraph


def unpacked(subgraph: Json) -> Json:
    """What is inside as a workflow, in which what comes in is unwired: widgets keep their own values."""
    links = [link for link in subgraph["links"] if link["origin_id"] != INSIDE and link["target_id"] != OUTSIDE]
    wired = {link["id"] for link in links}
    nodes = json.loads(json.dumps(subgraph["nodes"]))
    for socket in (socket for node in nodes for socket in node["inputs"]):
        socket["link"] = socket["link"] if socket["link"] in wired else None
    order = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return {"nodes": nodes, "links": [[link[key] for key in order] for link in links]}
