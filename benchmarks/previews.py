"""What moving previews cost: seconds of LaVie Base Sampler with them and without, in ComfyUI's own process.

    COMFYUI/PYTHON benchmarks/previews.py COMFYUI [--steps 50] [--repeats 5]

With previews and without take turns. The file is written as the server does. Seconds are the processor's, over all
threads, so that other work beside it hardly counts.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def start(comfyui: Path, base: Path) -> None:
    """As ComfyUI's main.py begins, on the CPU."""
    sys.argv[1:] = ["--cpu", "--base-directory", str(base)]
    sys.path[1:1] = [str(comfyui), str(ROOT / "tests")]
    import comfy.options

    comfy.options.enable_args_parsing()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comfyui", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    start(args.comfyui.resolve(), Path(tempfile.mkdtemp()))
    measure(args.steps, args.repeats)


def measure(steps: int, repeats: int) -> None:
    import comfy.utils
    import torch
    from comfy.cli_args import LatentPreviewMethod
    from comfy.cli_args import args as host
    from support.graph import run, wires

    sent: list[int] = []

    def to_the_page(_value: int, _total: int, preview: Any, node_id: str | None = None) -> None:
        if preview is not None:
            kind, image, _ = preview
            file = io.BytesIO()
            image.save(file, format=kind, quality=95, compress_level=1)
            sent.append(file.tell())

    comfy.utils.set_progress_bar_global_hook(to_the_page)
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    with torch.inference_mode():
        for number in range(repeats + 1):
            for name, method in zip(
                seconds, (LatentPreviewMethod.NoPreviews, LatentPreviewMethod.Latent2RGB), strict=True
            ):
                host.preview_method = method
                began = time.process_time()
                run("LaVieBaseSampler", **wires("base"), steps=steps, seed=7)
                seconds[name].append(time.process_time() - began)
                if number == 0:  # a first run, which loads
                    seconds[name].clear()
                    sent.clear()
    without, having = (statistics.median(each) for each in seconds.values())
    each = f"{len(sent) / repeats:.1f} previews of {statistics.mean(sent) / 1024:.0f} kB a run"
    print(f"without {without:.2f} s, with {having:.2f} s: ×{having / without:.3f}; {each}")


if __name__ == "__main__":
    main()
