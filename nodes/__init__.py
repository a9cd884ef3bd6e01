"""LaVie's ComfyUI nodes. If a file of nodes cannot be imported, the log says so and the rest still loads."""

from __future__ import annotations

import importlib
import logging
from typing import Any

log = logging.getLogger(__name__)

# By name the file of each, until it is imported: a literal, so that scanners find the nodes without running the pack.
NODE_CLASS_MAPPINGS: dict[str, Any] = {
    "LaVieTextToVideo": "text_to_video",
    "LaVieLoader": "loaders",
    "LaVieCascadeLoader": "loaders",
    "LaVieTextEncode": "text",
    "LaViePromptSchedule": "text",
    "LaVieBaseSampler": "sampling",
    "LaVieEmptyLatentVideo": "latents",
    "LaVieVAEDecode": "latents",
    "LaVieVAEEncode": "latents",
    "LaVieLatentVideoToFrames": "latents",
    "LaVieFramesToLatentVideo": "latents",
    "LaVieTemporalInterpolator": "video",
    "LaVieVideoUpscaler": "video",
    "LaVieAutoregressiveExtender": "long_video",
    "LaVieLongVideoSampler": "long_video",
    "LaVieImageToVideo": "continuation",
    "LaVieTransition": "continuation",
    "LaVieLoraLoader": "lora",
    "LaVieLoraTrainer": "lora_training",
    "LaVieExampleVideo": "example",
}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {}

for theme in dict.fromkeys(NODE_CLASS_MAPPINGS.values()):
    try:
        nodes = importlib.import_module(f".{theme}", __name__).NODES
    except Exception:
        log.exception("LaVie: the nodes of nodes/%s.py could not be loaded; the others work.", theme)
        nodes = ()
    for name in [name for name, place in NODE_CLASS_MAPPINGS.items() if place == theme]:
        del NODE_CLASS_MAPPINGS[name]
    NODE_CLASS_MAPPINGS.update({node.__name__: node for node in nodes})
    NODE_DISPLAY_NAME_MAPPINGS.update({node.__name__: node.title for node in nodes})
