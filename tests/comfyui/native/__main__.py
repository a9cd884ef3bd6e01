"""LaVie's MODEL, CLIP and VAE in the hands of ComfyUI's own nodes. Run by test_native.py with ComfyUI's Python:

    python tests/comfyui/native COMFYUI BASE_DIRECTORY [CHECK …]

The last line printed is JSON: what every check found, or its traceback as text. BASE_DIRECTORY takes the LoRA files;
nothing else is written. CHECK: run only these.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path


def start(comfyui: Path, base: Path) -> None:
    """As ComfyUI's main.py begins."""
    sys.argv[1:] = ["--cpu", "--preview-method", "latent2rgb", "--base-directory", str(base)]
    sys.path[1:1] = [str(comfyui), str(Path(__file__).parents[2])]
    os.chdir(base)
    import comfy.options

    comfy.options.enable_args_parsing()


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
    start(Path(comfyui).resolve(), Path(base).resolve())
    main(only)
