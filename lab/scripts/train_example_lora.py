"""Train the bundled example of a LoRA, lavie/weights/tiny/loras/lavie-tiny-sunset.safetensors, in minutes on a CPU.

    python -m lab.scripts.train_example_lora [RUN_FOLDER]

It learns the usual procedural clips with their usual captions, only graded into the light of an evening; so it needs
no trigger word. The layers that look along the frames stay as they are.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from lab.sprites.source import SyntheticClips
from lavie.checkpoints import load_unet
from lavie.checkpoints.save import write_safetensors
from lavie.config import find_family
from lavie.training.data import Clip, ClipRequest, Mixture, TrainingData
from lavie.training.freezing import apply_scheme, lora_state_dict
from lavie.training.loop import LoopSettings, train
from lavie.training.precompute import precompute
from lavie.training.settings import StageSettings
from lavie.training.stages import Base, Denoiser, StageNetworks
from lavie.training.start import load_text_of, load_vae_of

ROOT = Path(__file__).resolve().parents[2]
FAMILY = ROOT / "lavie" / "weights" / "tiny"
FILE = FAMILY / "loras" / "lavie-tiny-sunset.safetensors"
RANK = 4
CLIPS, FRAMES, BATCH, STEPS = 400, 8, 4, 500
SEED = 7
MASK_WEIGHT = 6.0

DUSK = ((0.32, 0.12, 0.28), (0.66, 0.34, 0.46), (0.99, 0.66, 0.40), (1.0, 0.88, 0.62))  # from dark to bright
STRENGTH, ON_SPRITE = 0.85, 0.25


def sunset(video: Tensor, mask: Tensor) -> Tensor:
    """The same images in the light of an evening: [b, 3, f, h, w] in −1…1; the sprite, [b, 1, f, h, w], less so.

    Brightness, a little less of it in the sky, becomes a colour between violet and gold.
    """
    image = (video + 1) / 2
    sky = torch.linspace(0.72, 1.0, video.shape[-2])[:, None]
    weights = torch.tensor((0.35, 0.5, 0.15)).view(3, 1, 1, 1)
    place = (image * weights).sum(1, keepdim=True).mul(sky).clamp(0, 1) * (len(DUSK) - 1)
    colours = torch.tensor(DUSK)[:, None, :, None, None, None]  # [points, 1, 3, 1, 1, 1]
    near = cast("Tensor", sum((1 - (place - i).abs()).clamp_min(0) * colour for i, colour in enumerate(colours)))
    return torch.lerp(image, near, STRENGTH + (ON_SPRITE - STRENGTH) * mask) * 2 - 1


class SunsetClips(SyntheticClips):
    """Rendered clips in the light of an evening."""

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        clip = super().read(row, request, generator)
        video = sunset(clip.tensors["video"][None], clip.tensors["mask"][None])[0]
        return replace(clip, tensors={**clip.tensors, "video": video})


class Sunset(Base):
    """The base stage, of which only the LoRA is written."""

    def save(self, model: Denoiser, folder: Path) -> None:
        tensors = {name: tensor.half().cpu() for name, tensor in lora_state_dict(model.unet).items()}
        write_safetensors(tensors, FILE, metadata())
        print(f"{FILE}: {FILE.stat().st_size} bytes, {len(tensors) // 3} layers")


def main(run: Path) -> None:
    family = find_family(FAMILY)
    unet = load_unet(family.path(family.base.unet), stage="base", dtype=torch.float32)
    torch.manual_seed(SEED)
    unet = apply_scheme(unet, "spatial-lora", RANK)
    text_encoder, _ = load_text_of(family, "base", None, learns=False)
    text_encoder.model.requires_grad_(False)
    parts = StageNetworks(family, family.base, text_encoder, load_vae_of(family, "base"))
    height, width = family.base.height, family.base.width
    settings = StageSettings((FRAMES,), height, width, loss_weight="clean", mask_weight=MASK_WEIGHT)
    stage = Sunset(Denoiser(unet), parts, settings)
    request = ClipRequest(FRAMES, height, width, fps=family.base.fps)
    clips = precompute([SunsetClips(CLIPS, SEED)], request, stage, run / "latents", torch.device("cpu"))
    data = TrainingData(Mixture(clips), request, BATCH, SEED)
    loop = LoopSettings(
        STEPS, BATCH, learning_rate=3e-3, warmup=30, ema_decay=0.98, weight_decay=0.0, save_every=50, seed=SEED
    )
    result = train(stage, data, loop, run)
    if not result.stopped:
        stage.save(result.model, FAMILY)


def metadata() -> dict[str, str]:
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(RANK),
        "ss_network_alpha": str(RANK),
        "ss_base_model_version": "lavie-tiny",
        "modelspec.title": "lavie-tiny sunset",
        "modelspec.description": "Turns what lavie-tiny shows into the light of a sunset; no trigger word.",
        "modelspec.license": "Apache-2.0",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs" / "example_lora"))
