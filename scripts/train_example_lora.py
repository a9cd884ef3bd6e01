"""Train the bundled example of a LoRA, lavie/weights/tiny/loras/lavie-tiny-sunset.safetensors, in minutes on a CPU.

    python scripts/train_example_lora.py [RUN_FOLDER]

It learns the usual procedural clips with their usual captions, only graded into the light of an evening; so it needs
no trigger word. The layers that look along the frames stay as they are.
"""

import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lavie.checkpoints import load_unet  # noqa: E402
from lavie.checkpoints.save import write_safetensors  # noqa: E402
from lavie.lora import to_kohya  # noqa: E402
from lavie.models.latents import encode_video  # noqa: E402
from lavie.models.vae import load_vae  # noqa: E402
from lavie.training.latents import scenes  # noqa: E402
from lavie.training.loop import LoopSettings, train  # noqa: E402
from lavie.training.stages import (  # noqa: E402
    HEIGHT,
    SPRITE_WEIGHT,
    WIDTH,
    Data,
    denoising_error,
    drop_text,
    embed,
    frozen_text_encoder,
    tokenizer_of,
)
from lavie.training.synthetic import Scene, caption, frame_times, render  # noqa: E402

FAMILY = ROOT / "lavie" / "weights" / "tiny"
FILE = FAMILY / "loras" / "lavie-tiny-sunset.safetensors"
RANK = 4
SPATIAL = r".*\.(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2))"
CLIPS, FRAMES, BATCH, STEPS = 400, 8, 32, 1000
SEED = 7


DUSK = ((0.32, 0.12, 0.28), (0.66, 0.34, 0.46), (0.99, 0.66, 0.40), (1.0, 0.88, 0.62))  # from dark to bright
STRENGTH, ON_SPRITE = 0.85, 0.25


def sunset(video: Tensor, mask: Tensor) -> Tensor:
    """The same pictures in the light of an evening: [b, 3, f, h, w] in −1…1; the sprite, [b, 1, f, h, w], less so.

    Brightness, a little less of it in the sky, becomes a colour between violet and gold.
    """
    picture = (video + 1) / 2
    sky = torch.linspace(0.72, 1.0, video.shape[-2])[:, None]
    weights = torch.tensor((0.35, 0.5, 0.15)).view(3, 1, 1, 1)
    place = (picture * weights).sum(1, keepdim=True).mul(sky).clamp(0, 1) * (len(DUSK) - 1)
    colours = torch.tensor(DUSK)[:, None, :, None, None, None]  # [points, 1, 3, 1, 1, 1]
    near = sum((1 - (place - i).abs()).clamp_min(0) * colour for i, colour in enumerate(colours))
    return torch.lerp(picture, near, STRENGTH + (ON_SPRITE - STRENGTH) * mask) * 2 - 1


def graded(clips: list[Scene]) -> tuple[Tensor, Tensor]:
    """Neighbouring frames of each clip: scaled latents [clips, 4, FRAMES, h, w] and how much of each is sprite."""
    vae, parts = load_vae(FAMILY / "vae"), []
    for start in range(0, len(clips), 16):
        first = start // 16 % (17 - FRAMES)
        video, mask = render(clips[start : start + 16], frame_times(16)[first : first + FRAMES], HEIGHT, WIDTH)
        parts.append((encode_video(vae, sunset(video, mask)), avg_pool3d(mask, (1, 8, 8))))
    latents, masks = zip(*parts, strict=True)
    return torch.cat(latents), torch.cat(masks)


class Sunset:
    """Graded clips and their captions, for `lavie.training.loop`."""

    def __init__(self) -> None:
        self.tokenizer = tokenizer_of(FAMILY)
        self.text_encoder = frozen_text_encoder(Data(FAMILY, FAMILY, CLIPS, BATCH))
        self.clips = scenes(SEED, CLIPS)
        self.latents, self.masks = graded(self.clips)

    def loss(self, unet: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(CLIPS, (BATCH // FRAMES,), generator=generator).tolist()
        captions = [caption(self.clips[row], generator) for row in rows]
        with torch.no_grad():
            text = embed(self.text_encoder, self.tokenizer, drop_text(captions, generator))
        emphasis = 1 + (SPRITE_WEIGHT - 1) * self.masks[rows]
        return {"total": denoising_error(unet, self.latents[rows], text, generator, "epsilon", emphasis=emphasis)}


def main(run: Path) -> None:
    torch.manual_seed(SEED)
    unet = load_unet(FAMILY / "base", stage="base", dtype=torch.float32)
    unet = inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=SPATIAL), unet)
    settings = LoopSettings(STEPS, learning_rate=3e-3, warmup=30, average_decay=0.98, weight_decay=0, save_every=50)
    unet = train(unet, Sunset().loss, settings, run)
    tensors = to_kohya({name: tensor.half() for name, tensor in get_peft_model_state_dict(unet).items()})
    FILE.parent.mkdir(exist_ok=True)
    write_safetensors(tensors, FILE, metadata())
    print(f"{FILE}: {FILE.stat().st_size} bytes, {len(tensors) // 3} layers")


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
