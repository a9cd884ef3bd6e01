"""LaVie's MODEL, CLIP and VAE in the hands of ComfyUI's own nodes. Run by test_native.py with ComfyUI's Python:

    python tests/comfyui/native COMFYUI BASE_DIRECTORY [CHECK …]

The last line printed is JSON: what every check found, or its traceback as text. BASE_DIRECTORY takes the LoRA files;
nothing else is written. CHECK: run only these. With COMFYUI_DEVICE=cuda on a card, with dynamic VRAM where the host has
it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path


def start(comfyui: Path, base: Path, device: str = "cpu") -> None:
    """As ComfyUI's main.py begins."""
    on_cpu = ["--cpu"] if device == "cpu" else []
    sys.argv[1:] = [*on_cpu, "--preview-method", "latent2rgb", "--base-directory", str(base)]
    sys.path[1:1] = [str(comfyui), str(Path(__file__).parents[2])]
    os.chdir(base)
    import comfy.options

    comfy.options.enable_args_parsing()
    if device != "cpu":
        use_dynamic_vram()


def use_dynamic_vram() -> None:
    """As ComfyUI's main.py does by itself on NVIDIA cards, in hosts that have it."""
    try:
        from comfy_aimdo import control
    except ModuleNotFoundError:
        print("This ComfyUI has no dynamic VRAM.", file=sys.stderr)
        return
    control.init()  # before torch sees the card
    import comfy.memory_management
    import comfy.model_management
    import comfy.model_patcher

    devices = comfy.model_management.get_all_torch_devices()
    try:
        is_on = control.init_devices((each.index, 0) for each in devices)
    except TypeError:  # before comfy-aimdo 0.4.10
        is_on = control.init_devices(each.index for each in devices)
    assert is_on, "comfy-aimdo does not start"
    comfy.model_patcher.CoreModelPatcher = comfy.model_patcher.ModelPatcherDynamic
    comfy.memory_management.aimdo_enabled = True


def main(only: list[str]) -> None:
    import control
    import patching
    import pictures
    import sampling
    import torch
    import video

    results = {}
    for check in (*sampling.CHECKS, *pictures.CHECKS, *patching.CHECKS, *video.CHECKS, *control.CHECKS):
        if only and check.__name__ not in only:
            continue
        try:
            with torch.inference_mode():  # as ComfyUI executes nodes
                results[check.__name__] = check()
        except Exception:
            results[check.__name__] = traceback.format_exc()
    print(json.dumps(results))


if __name__ == "__main__":
    comfyui, base, *only = sys.argv[1:]
    start(Path(comfyui).resolve(), Path(base).resolve(), os.environ.get("COMFYUI_DEVICE", "cpu"))
    main(only)
