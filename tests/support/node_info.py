"""The nodes of the pack as the server describes them, without a server."""

from __future__ import annotations

import json
from typing import Any

from support.graph import PACK

Json = dict[str, Any]


def object_info(node: Any) -> Json:
    """As the server describes a node of this kind."""
    inputs = {"required": {}, "optional": {}, **node.INPUT_TYPES()}
    inputs = {group: {name: list(spec) for name, spec in inputs[group].items()} for group in inputs}
    return {"input": inputs, "input_order": {group: list(inputs[group]) for group in inputs}}


INFO = {name: object_info(node) for name, node in PACK.NODE_CLASS_MAPPINGS.items()}


def ours(workflow: Json) -> Json:
    """The workflow with the nodes of other makers silenced, whose widgets are not known here."""
    foreign = {node["id"] for node in workflow["nodes"] if node["type"] not in {*INFO, "PrimitiveNode", "Reroute"}}
    links = [link for link in workflow["links"] if link[1] not in foreign]
    kept = {link[0] for link in links}
    nodes = [json.loads(json.dumps(node)) for node in workflow["nodes"] if node["id"] not in foreign]
    for socket in (socket for node in nodes for socket in node.get("inputs", [])):
        socket["link"] = socket["link"] if socket.get("link") in kept else None
    return {"nodes": nodes, "links": links}


def is_allowed(value: Any, kind: Any, options: Json) -> bool:
    if isinstance(kind, list):
        return value in kind
    if kind in ("INT", "FLOAT"):
        return isinstance(value, int | float) and options["min"] <= value <= options["max"]
    return isinstance(value, bool if kind == "BOOLEAN" else str)
