"""What `lavie train lora` takes at the size of the released base: peak memory, with and without its two savings.

    python benchmarks/lora_memory.py [--device auto|cpu|cuda] [--steps N] [--case NAME]

Random weights, one image of 320×512 a step, rank 16. On a GPU the measure is what torch allocates at most; on the CPU
(Linux) the peak of resident memory less that before the networks are loaded.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measure import peak, start_of_peak
from lavie.checkpoints import save_unet
from lavie.config import find_family
from lavie.models import UNetConfig, build_unet
from lavie.models.text_encoder import save_text_model
from lavie.training.family_file import write_family

HEIGHT, WIDTH = 320, 512
CASES = {  # mixed precision, gradient checkpointing
    "as it is advised for 8 GB": ("bf16", True),
    "without checkpointing": ("bf16", False),
    "in float32": ("no", True),
}


def make_family(folder: Path) -> None:
    """A base of the released size with random weights, its VAE and text encoder, as files in half precision."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    write_family(folder, None)
    shutil.copytree(find_family("lavie-tiny").path("tokenizer"), folder / "tokenizer")
    (folder / "base").mkdir()
    unet = build_unet(UNetConfig())
    save_unet(unet, folder / "base" / "model.safetensors", dtype=torch.float16, config_file=True)
    AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
    ).half().save_pretrained(folder / "vae")
    config = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=12)
    save_text_model(CLIPTextModel(config), folder / "text_encoder")


def measure(family: Path, case: str, device: str, steps: int) -> None:
    """Print one line: the peak of a run of this many steps."""
    from lavie.runtime import choose_device
    from lavie.training.lora.data import CaptionedImage
    from lavie.training.lora.job import LoraJob
    from lavie.training.lora.settings import LoraSettings
    from lavie.training.lora.train import train_lora
    from lavie.training.settings import LoopSettings

    device = choose_device(None if device == "auto" else device)
    precision, checkpointing = CASES[case]
    loop = LoopSettings(
        steps=steps,
        batch_size=1,
        warmup=0,
        ema_decay=0.0,
        mixed_precision=precision,
        gradient_checkpointing=checkpointing,
        save_every=0,
        device="cpu" if device.type == "cpu" else "auto",
    )
    images = [CaptionedImage(f"{index}", "a zwx", torch.rand(3, 1, HEIGHT, WIDTH) * 2 - 1) for index in range(2)]
    before = start_of_peak(device)
    with tempfile.TemporaryDirectory() as run:
        file = Path(run) / "zwx.safetensors"
        settings = LoraSettings(trigger="zwx")
        base, size = find_family(str(family)), (HEIGHT, WIDTH)
        result = train_lora(LoraJob(base, size, settings, loop, Path(run) / "run", file, device), images)
    print(f"{case:28s} {(peak(device) - before) / 1e9:6.2f} GB   {result.seconds / steps:7.2f} s a step", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--family", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.family:
        measure(args.family, args.case, args.device, args.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        make_family(Path(folder))
        for case in [args.case] if args.case else CASES:  # each in a process of its own
            more = ["--device", args.device, "--steps", str(args.steps)]
            subprocess.run([sys.executable, __file__, "--family", folder, "--case", case, *more], check=True)


if __name__ == "__main__":
    main()
