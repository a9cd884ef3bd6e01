"""Model folders and files, as the host knows them."""

from __future__ import annotations

import os
from pathlib import Path

from ...lavie.errors import UsageError
from .devices import comfy

LAVIE = "lavie"  # the key of models/lavie in folder_paths and extra_model_paths.yaml
UNET_FOLDERS = (LAVIE, "diffusion_models", "diffusers")
FILES = (".safetensors", ".sft", ".pt", ".pth", ".ckpt", ".bin")
PARTS = ("vae", "text_encoder", "tokenizer")  # folders beside the released UNets that hold no UNet


def register_folders() -> None:
    """Register models/lavie with ComfyUI, beside folders from extra_model_paths.yaml."""
    paths = comfy("folder_paths")
    if paths is not None:
        paths.add_model_folder_path(LAVIE, os.path.join(paths.models_dir, LAVIE), is_default=True)
        paths.folder_names_and_paths[LAVIE][1].update(FILES)


def folders(key: str) -> list[Path]:
    """The folders that ComfyUI searches for one kind of model."""
    paths = comfy("folder_paths")
    if paths is None or key not in paths.folder_names_and_paths:
        return []
    return [Path(folder) for folder in paths.get_folder_paths(key)]


def released_folders() -> list[Path]:
    """The folders in which to look for the released weights."""
    return [*folders(LAVIE), *folders("diffusers")]


def checkpoint_folders() -> tuple[Path, ...]:
    """The folders of Stable Diffusion checkpoints in one file."""
    return tuple(folders("checkpoints"))


def clip_tokenizer() -> Path | None:
    """The folder of the host's own CLIP tokenizer."""
    module = comfy("comfy.sd1_clip")
    return None if module is None or module.__file__ is None else Path(module.__file__).parent / "sd1_tokenizer"


def files(key: str) -> list[str]:
    """Names of weight files and of model folders below the folders of one kind of model."""
    paths = comfy("folder_paths")
    if paths is None or key not in paths.folder_names_and_paths:
        return []
    names = [] if key == "diffusers" else paths.get_filename_list(key)  # the host lists only whole pipelines there
    marks = ("family.json", "config.json")
    found = (mark.parent.name for folder in folders(key) for name in marks for mark in folder.glob(f"*/{name}"))
    weights = {name for name in names if Path(name).suffix in FILES and Path(name).parent.name not in PARTS}
    return sorted(weights | {name for name in found if name not in PARTS})


def find_file(key: str, name: str) -> Path:
    """The file or folder of that name below the folders of one kind of model.

    Raises:
        UsageError: there is none, or the name points outside the folders.
    """
    if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
        raise UsageError(f"'{name}' leads out of the models folder. Choose a file from the list.")
    for folder in folders(key):
        if (folder / name).exists():
            return folder / name
    raise UsageError(f"There is no file '{name}' in the folder models/{key}. Choose another, or put it there.")


def output_folder() -> Path:
    """The host's output folder."""
    paths = comfy("folder_paths")
    return Path("output") if paths is None else Path(paths.get_output_directory())


def loras_folder() -> Path:
    """The folder for new LoRAs: the first of the host's LoRA folders."""
    found = folders("loras")
    return found[0] if found else Path("models/loras")
