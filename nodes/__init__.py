"""LaVie's ComfyUI nodes. If a file of nodes cannot be imported, the log says so and the rest still loads."""

from __future__ import annotations

import importlib
import logging
from typing import Any

log = logging.getLogger(__name__)

# The file of each node, until it is imported: a literal, so that scanners find the nodes without running the pack.
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

for theme in dict.fromkeys(NODE_CLASS_MAPPINGS.values()):
    names = [name for name, place in NODE_CLASS_MAPPINGS.items() if place == theme]
    try:
        module = importlib.import_module(f".{theme}", __name__)
        NODE_CLASS_MAPPINGS.update({name: getattr(module, name) for name in names})
    except Exception:
        log.exception("LaVie: the nodes of nodes/%s.py could not be loaded; the others work.", theme)
        for name in names:
            del NODE_CLASS_MAPPINGS[name]
NODE_DISPLAY_NAME_MAPPINGS = {name: node.title for name, node in NODE_CLASS_MAPPINGS.items()}
