"""LaVie in ComfyUI: text to video, temporal interpolation, video super-resolution, long video, LoRA."""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from .nodes.host import register_folders

WEB_DIRECTORY = "./web"

register_folders()

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
