"""The host's modules, devices, precision and memory."""

from __future__ import annotations

import importlib
import logging
import sys
from types import ModuleType

import torch
from torch import nn

from ...lavie.errors import is_out_of_memory

log = logging.getLogger(__name__)

MODULES = ("comfy", "comfy_api", "comfy_execution", "folder_paths", "latent_preview")


def comfy(name: str) -> ModuleType | None:
    """A module of the host; None without ComfyUI."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in MODULES:
            raise
        return None


def required(name: str) -> ModuleType:
    """A module of the host, where there has to be a ComfyUI.

    Raises:
        ImportError: there is none, or not this module.
    """
    module = comfy(name)
    if module is None:
        raise ImportError(f"there is no {name}")
    return module


def node_title(class_name: str) -> str:
    """The title of the nodes of this class; empty if there is no such node, or no ComfyUI."""
    core = sys.modules.get("nodes")  # ComfyUI's, which is there before any pack
    known = getattr(core, "NODE_CLASS_MAPPINGS", {})
    name = next((name for name, node in known.items() if node.__name__ == class_name), "")
    return getattr(core, "NODE_DISPLAY_NAME_MAPPINGS", {}).get(name) or name


class Patcher:
    """What LaVie's nodes need of a ModelPatcher, for use without ComfyUI."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.model = model
        self.load_device = self.offload_device = device


def compute_device() -> torch.device:
    management = comfy("comfy.model_management")
    return torch.device("cpu") if management is None else management.get_torch_device()


def storage_device() -> torch.device:
    """Where IMAGE and LATENT belong."""
    management = comfy("comfy.model_management")
    return torch.device("cpu") if management is None else management.intermediate_device()


def unet_dtype(parameters: int) -> torch.dtype:
    """The precision that the host chooses for its flags and the card."""
    management = comfy("comfy.model_management")
    if management is None:
        return torch.float32
    device = management.get_torch_device()
    dtype = management.unet_dtype(device=device, model_params=parameters)
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        log.warning("LaVie does not store weights as %s; it uses float16.", dtype)
        dtype = torch.float16
    return management.unet_manual_cast(dtype, device) or dtype


def text_dtype() -> torch.dtype:
    """As `unet_dtype`, for text encoders; float32 on a CPU."""
    management = comfy("comfy.model_management")
    if management is None or management.text_encoder_device().type == "cpu":
        return torch.float32
    dtype = management.text_encoder_dtype(management.text_encoder_device())
    return dtype if dtype in (torch.float32, torch.float16, torch.bfloat16) else torch.float16


def vae_dtype() -> torch.dtype:
    """As `unet_dtype`, for VAEs: bfloat16 or float32."""
    management = comfy("comfy.model_management")
    if management is None:
        return torch.float32
    return management.vae_dtype(management.vae_device(), [torch.bfloat16, torch.float32])


def is_card_out_of_memory(error: BaseException) -> bool:
    """Whether a graphics card ran out of memory, as the host defines it."""
    management = comfy("comfy.model_management")
    known = (torch.cuda.OutOfMemoryError, *(() if management is None else (management.OOM_EXCEPTION,)))
    return isinstance(error, known)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of a card or of the computer."""
    return is_card_out_of_memory(error) or is_out_of_memory(error)


def free_cache() -> None:
    management = comfy("comfy.model_management")
    if management is not None:
        management.soft_empty_cache()


def free_models() -> None:
    """Unload the host's networks, for work that needs the whole device."""
    management = comfy("comfy.model_management")
    if management is not None:
        management.unload_all_models()
        management.soft_empty_cache()
