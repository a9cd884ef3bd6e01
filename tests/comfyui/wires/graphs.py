"""Runs the graphs of table.py."""

from __future__ import annotations

import inspect
import logging
import sys
import time
import traceback
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from rows import ACTS, REFUSED, SAME, WORKS, Row
from support.graph import PROMPT
from support.graph import run as run_ours
from table import SECTIONS
from things import SIZE, thing
from torch import Tensor

import nodes as core

REFUSALS = ("UsageError", "LavieError")


def defaults(node: type) -> dict[str, Any]:
    """The values that the page gives to the widgets of a node."""
    found, inputs = {}, node.INPUT_TYPES()
    for name, (kind, *rest) in {**inputs.get("required", {}), **inputs.get("optional", {})}.items():
        options = rest[0] if rest else {}
        choices = kind if isinstance(kind, list | tuple) else options.get("options", ())
        if "default" in options:
            found[name] = options["default"]
        elif choices:
            found[name] = choices[0]
    return found


def run(node_id: str, inputs: dict[str, Any]) -> tuple:
    """What a node puts out, by its new form or its old one."""
    node = core.NODE_CLASS_MAPPINGS[node_id]
    given = {**defaults(node), **inputs}
    if inspect.ismethod(getattr(node, "execute", None)):
        node = node.PREPARE_CLASS_CLONE(None)  # as the host does, so that hidden inputs can be asked for
        found = node.execute(**given)
        return tuple(getattr(found, "args", found))
    found = getattr(node(), node.FUNCTION)(**given)
    return tuple(found.get("result", ())) if isinstance(found, dict) else tuple(found)


def result(row: Row) -> Any:
    """The first output of the graph's last node."""
    made: list[tuple] = [] if not row.made else [(thing(row.made),)]
    for node, inputs in row.steps:
        made.append(run(node, {name: value(each, made) for name, each in inputs.items()}))
    return made[-1][0] if made[-1] else None


def value(given: Any, made: list[tuple]) -> Any:
    """What an input of table.py stands for, after the steps that have been made."""
    if not isinstance(given, str) or given[:1] not in ("$", "@"):
        return given
    if given[0] == "$":
        return thing(given[1:])
    step, _, output = given[1:].partition(".")
    return made[int(step)][int(output or 0)]


def ours(**wired: Any) -> Tensor:
    """Latents by LaVie Base Sampler."""
    given = {"model": thing("model"), "positive": thing("positive"), "negative": thing("negative"), **SIZE, **wired}
    return run_ours("LaVieBaseSampler", seed=7, steps=3, **given)[0]["samples"]


def by_core(**wired: Any) -> Tensor:
    """Latents by the core KSampler."""
    given = {"model": thing("model"), "positive": thing("positive"), "negative": thing("negative"), **wired}
    latent = given.pop("latent", None) or run_ours("LaVieEmptyLatentVideo", **SIZE)[0]
    settings = {"seed": 7, "steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "normal"}
    return core.KSampler().sample(latent_image=latent, denoise=given.pop("denoise", 1.0), **settings, **given)[0][
        "samples"
    ]


def wired(socket: str, value: Any) -> dict[str, Any]:
    """What the samplers get."""
    if socket == "clip":
        return {"positive": run("CLIPTextEncode", {"clip": value, "text": PROMPT})[0]}
    return {socket: value, **({"denoise": 0.6} if socket == "latent" else {})}


@cache
def plain(sampler: Callable, latent: str, model: str) -> Tensor:
    """The video without the node, of that latent if it has a name, by that model."""
    return sampler(model=thing(model), **(wired("latent", thing(latent)) if latent else {}))


def outcome(sampler: Callable, socket: str, row: Row) -> str:
    beside = {name: value(each, []) for name, each in row.beside.items()}
    try:
        output = result(row)
        if not socket:
            return WORKS
        made = sampler(**beside, **wired(socket, output))
    except Exception as error:
        if type(error).__name__ in REFUSALS:
            return f"{REFUSED}: {error}"
        return f"error: {traceback.format_exc()}"
    latent = row.beside.get("latent", "$latent" if socket == "latent" else "")[1:]
    before = plain(sampler, latent, row.beside.get("model", "$model")[1:])
    if not made.isfinite().all():
        return "error: NaN"
    alike = made.shape == before.shape and torch.allclose(made, before, atol=1e-3, rtol=1e-3)
    return SAME if alike else ACTS


def outcomes(packs: set[str]) -> dict[str, dict[str, str]]:
    """By `Row.key`, what happens in LaVie's sampler ("ours") and in KSampler ("core"); a node that this host does
    not have is missing."""
    logging.getLogger().setLevel(logging.ERROR)
    found = {}
    for section in SECTIONS:
        for row in section.rows:
            began = time.monotonic()
            if all(node in core.NODE_CLASS_MAPPINGS for node, _ in row.steps) and row.pack in {"", *packs}:
                found[row.key(section.title)] = {
                    name: outcome(sampler, section.socket, row)
                    for name, sampler, expected in (("ours", ours, row.ours), ("core", by_core, row.core))
                    if expected
                }
            print(f"{row.key(section.title)}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    return found
