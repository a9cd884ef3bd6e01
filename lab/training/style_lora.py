"""The bundled example of a LoRA: what lavie-tiny shows, as a drawing in ink on paper.

    python -m lab.training.style_lora FAMILY RUN LATENTS [--clips 400 --steps 500]

It learns the usual clips with their usual captions, only washed in ink; so it needs no trigger word. A guest keeps
most of its colour, and the layers that look along the frames stay as they are.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lavie.checkpoints import load_unet
from lavie.checkpoints.save import write_safetensors
from lavie.config import find_family
from lavie.training.data import Clip, ClipRequest, Mixture, TrainingData
from lavie.training.freezing import apply_scheme, lora_state_dict
from lavie.training.loop import train
from lavie.training.settings import LoopSettings, StageSettings
from lavie.training.stages import Base, Denoiser, StageNetworks
from lavie.training.start import load_text_of, load_vae_of

from .data import World
from .latents import precomputed

FILE = "loras/lavie-tiny-ink.safetensors"
RANK, FRAMES, BATCH, SEED, MASK_WEIGHT = 4, 8, 4, 7, 5.0

INK, PAPER = (0.13, 0.12, 0.17), (0.97, 0.93, 0.84)
STRENGTH, ON_GUEST = 0.95, 0.15
OUTLINE = 1.6  # how dark edges are drawn


def ink(video: Tensor, mask: Tensor) -> Tensor:
    """The same frames in ink: [3, f, h, w] in −1…1; the guest, [1, f, h, w] in 0…1, keeps most of its colour.

    Brightness becomes a wash between ink and paper, and edges become strokes.
    """
    image = (video + 1) / 2
    light = (image * torch.tensor((0.3, 0.59, 0.11)).view(3, 1, 1, 1)).sum(0)
    low, high = light.amin(), light.amax()
    wash = ((light - low) / (high - low).clamp(min=0.3)).clamp(0, 1).sqrt()
    across = F.pad(light.diff(dim=-1).abs(), (0, 1))
    down = F.pad(light.diff(dim=-2).abs(), (0, 0, 0, 1))
    wash = (wash - OUTLINE * torch.maximum(across, down)).clamp(0, 1)
    dark, pale = (torch.tensor(colour).view(3, 1, 1, 1) for colour in (INK, PAPER))
    return torch.lerp(image, torch.lerp(dark, pale, wash), STRENGTH + (ON_GUEST - STRENGTH) * mask) * 2 - 1


class InkWorld(World):
    """The world, drawn in ink."""

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        clip = super().read(row, request, generator)
        return replace(clip, tensors={**clip.tensors, "video": ink(clip.tensors["video"], clip.tensors["mask"])})

    def fingerprint(self) -> str:
        return f"ink {super().fingerprint()}"


class Style(Base):
    """The base stage, of which only the LoRA is written."""

    def save(self, model: Denoiser, folder: Path) -> None:
        tensors = {name: tensor.half().cpu() for name, tensor in lora_state_dict(model.unet).items()}
        write_safetensors(tensors, folder / FILE, metadata())
        print(f"{FILE}: {(folder / FILE).stat().st_size} bytes, {len(tensors) // 3} layers")


def style_stage(folder: Path) -> Style:
    """The family's base, in which only low-rank changes of the spatial layers learn."""
    family = find_family(folder)
    unet = load_unet(family.path(family.base.unet), stage="base", dtype=torch.float32)
    torch.manual_seed(SEED)
    unet = apply_scheme(unet, "spatial-lora", RANK)
    text_encoder, _ = load_text_of(family, "base", None, learns=False)
    text_encoder.model.requires_grad_(False)
    parts = StageNetworks(family, family.base, text_encoder, load_vae_of(family, "base"))
    sizes = ((FRAMES,), family.base.height, family.base.width)
    return Style(Denoiser(unet), parts, StageSettings(*sizes, loss_weight="clean", mask_weight=MASK_WEIGHT))


def metadata() -> dict[str, str]:
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(RANK),
        "ss_base_model_version": "lavie-tiny",
        "modelspec.title": "lavie-tiny ink",
        "modelspec.description": "Draws what lavie-tiny shows in ink on paper; no trigger word.",
        "modelspec.license": "Apache-2.0",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("latents", type=Path)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    stage = style_stage(args.family)
    base = stage.parts.config
    request = ClipRequest(FRAMES, base.height, base.width, fps=base.fps)
    clips = precomputed(InkWorld(args.clips, SEED, name="world in ink"), request, stage, args.latents / "ink")
    loop = LoopSettings(
        args.steps,
        BATCH,
        learning_rate=3e-3,
        warmup=30,
        ema_decay=0.98,
        weight_decay=0.0,
        mixed_precision="bf16",
        save_every=50,
        seed=SEED,
        device="cpu",
    )
    result = train(stage, TrainingData(Mixture([clips]), request, BATCH, SEED), loop, args.run)
    if not result.stopped:
        stage.save(result.model, args.family)
    return 128 + result.signal if result.stopped else 0


if __name__ == "__main__":
    raise SystemExit(main())
