"""A workflow file of the frontend as the prompt that it would send: the part of graphToPrompt that LaVie's use."""

from __future__ import annotations

from typing import Any

MUTED, BYPASSED = 2, 4
NOT_SENT = ("Note", "MarkdownNote", "PrimitiveNode", "Reroute")
DYNAMIC = "COMFY_DYNAMICCOMBO_V3"  # newer hosts' kind of choice that brings widgets of its own
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", DYNAMIC)
CONTROLS = ("fixed", "increment", "decrement", "randomize")

Json = dict[str, Any]


def to_prompt(workflow: Json, object_info: Json) -> Json:
    """{node id: {"class_type": …, "inputs": …}} of the JSON of a workflow and the server's /object_info.

    Raises:
        KeyError: the server does not know a node.
    """
    nodes = {node["id"]: node for node in workflow["nodes"]}
    links = {link[0]: (nodes[link[1]], link[2]) for link in workflow["links"]}
    prompt = {}
    for node in nodes.values():
        if node["type"] in NOT_SENT or node.get("mode") in (MUTED, BYPASSED):
            continue
        inputs = _widget_values(node, object_info[node["type"]])
        for socket in node.get("inputs", []):
            inputs.update(_linked(socket, links))
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


def widget_names(info: Json) -> list[tuple[str, Json]]:
    """The widgets of a node and their options, in the order in which their values are saved."""
    return _widgets(info["input"], info["input_order"])


def _widgets(inputs: Json, order: Json) -> list[tuple[str, Json]]:
    widgets = []
    for group in ("required", "optional"):
        for name in order.get(group, ()):
            kind, *options = inputs[group][name]
            if (isinstance(kind, list) or kind in WIDGETS) and not (options and options[0].get("forceInput")):
                widgets.append((name, options[0] if options else {}))
    return widgets


def _widget_values(node: Json, info: Json) -> Json:
    """The saved values by name."""
    return _taken(list(node.get("widgets_values") or []), widget_names(info))


def _taken(saved: list, widgets: list[tuple[str, Json]], prefix: str = "") -> Json:
    """Values for these widgets, taken from those saved. Seeds are followed by their control, uploads by their button,
    and a choice that brings widgets of its own by theirs, which it puts its name before: format, format.codec."""
    values = {}
    for name, options in widgets:
        if not saved:
            break
        chosen = values[prefix + name] = saved.pop(0)
        is_seed = options.get("control_after_generate") or name in ("seed", "noise_seed")
        is_upload = any(key.endswith("_upload") for key in options)
        if saved and (is_upload or (is_seed and saved[0] in CONTROLS)):
            saved.pop(0)
        for option in options.get("options", ()):
            if isinstance(option, dict) and option["key"] == chosen:
                values |= _taken(saved, _widgets(option["inputs"], option["inputs"]), f"{prefix}{name}.")
    return values


def _linked(socket: Json, links: dict[int, tuple[Json, int]]) -> Json:
    """{name: [node id, slot]}, {name: value} of a primitive, or {} of nothing."""
    link = socket.get("link")
    while link is not None:
        origin, slot = links[link]
        if origin["type"] == "PrimitiveNode":
            return {socket["name"]: origin["widgets_values"][0]}
        if origin["type"] != "Reroute" and origin.get("mode") != BYPASSED:
            return {} if origin.get("mode") == MUTED else {socket["name"]: [str(origin["id"]), slot]}
        link = _through(origin, slot)
    return {}


def _through(node: Json, slot: int) -> int | None:
    """The link that a bypassed node or a reroute passes on: that of its first wired input of the same type."""
    sockets = [each for each in node["inputs"] if each.get("link") is not None]
    kind = node["outputs"][slot]["type"]
    same = [each for each in sockets if node["type"] == "Reroute" or each["type"] == kind]
    return same[0]["link"] if same else None
