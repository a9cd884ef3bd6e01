"""What one evaluation of each full-size UNet takes beside its weights, and the estimate that ComfyUI is given.

    python benchmarks/activation_memory.py [--stage base|interpolation|upscaler]

Random weights, float32, on the CPU (Linux). The measure is the peak of resident memory during a forward, less that
before it, in feature maps of the first level: bytes ÷ (batch · frames · height · width · first width · 4).
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lavie.models import UNetConfig, build_unet
from lavie.runtime.memory import activation_bytes

UPSCALER = UNetConfig(
    in_channels=7,
    block_out_channels=(256, 512, 512, 1024),
    down_block_types=("DownBlock3D",) + ("CrossAttnDownBlock3D",) * 3,
    up_block_types=("CrossAttnUpBlock3D",) * 3 + ("UpBlock3D",),
    cross_attention_dim=1024,
    use_linear_projection=True,
    only_cross_attention=(True, True, True, False),
    num_class_embeds=1000,
    temporal_convolutions=True,
)
INTERPOLATION = UNetConfig(
    in_channels=8, sparse_causal_attention=True, temporal_positions=False, temporal_attention_last=True
)
# Latents [batch, channels, frames, height, width] in the proportions of the released models, smaller.
STAGES = {
    "base": (UNetConfig(), (2, 4, 16, 20, 32)),
    "interpolation": (INTERPOLATION, (1, 8, 61, 20, 32)),
    "upscaler": (UPSCALER, (1, 7, 8, 80, 128)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=STAGES)
    stage = parser.parse_args().stage
    if stage is None:
        print("stage            measured  estimate  feature maps")
        for name in STAGES:  # each in a process of its own, so that no memory is reused
            subprocess.run([sys.executable, __file__, "--stage", name], check=True)
        return
    config, shape = STAGES[stage]
    unet = build_unet(config).eval()
    labels = None if config.num_class_embeds is None else torch.tensor([50])
    inputs = (torch.randn(shape), 500, torch.randn(shape[0], 77, config.cross_attention_dim), labels)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident("VmRSS")
    with torch.no_grad():
        unet(*inputs)
    taken = resident("VmHWM") - before
    maps = taken / (shape[0] * shape[2] * shape[3] * shape[4] * config.block_out_channels[0] * 4)
    print(f"{stage:15s} {taken / 1e9:6.2f} GB {activation_bytes(unet, shape) / 1e9:6.2f} GB  {maps:8.1f}", flush=True)


def resident(field: str) -> int:
    """Bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    main()
