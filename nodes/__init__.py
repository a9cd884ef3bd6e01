"""LaVie's ComfyUI nodes. If a file of nodes cannot be imported, the log says so and the rest still loads."""

from __future__ import annotations

import importlib
import logging

log = logging.getLogger(__name__)

THEMES = (
    "loaders",
    "text",
    "sampling",
    "latents",
    "video",
    "long_video",
    "continuation",
    "lora",
    "lora_training",
    "example",
)

NODE_CLASS_MAPPINGS: dict[str, type] = {}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {}

for theme in THEMES:
    try:
        nodes = importlib.import_module(f".{theme}", __name__).NODES
    except Exception:
        log.exception("LaVie: the nodes of nodes/%s.py could not be loaded; the others work.", theme)
        continue
    NODE_CLASS_MAPPINGS.update({node.__name__: node for node in nodes})
    NODE_DISPLAY_NAME_MAPPINGS.update({node.__name__: node.title for node in nodes})
