"""What each stage learns from: its network, its data and its loss, for the one training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn.functional import interpolate
from tqdm import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

from ..checkpoints import load_unet, save_unet
from ..models.latents import decode_latents, encode_video
from ..models.text_encoder import load_text_encoder, save_text_model
from ..models.vae import load_vae
from ..sampling.conditioning import key_frame_of, low_resolution_noise
from ..sampling.schedulers import NUM_TRAIN_TIMESTEPS
from .architecture import PREDICTION_TYPES, new_text_encoder, new_unet, tokenizer_of
from .latents import clip_latents, clip_masks, scenes
from .objective import add_noise, target, weighted_error
from .synthetic import Scene, caption, render
from .synthetic.scene import uniform

TEXT_DROPOUT = 0.1
STILL_CAPTIONS = 0.3
SPRITE_WEIGHT = 6.0  # a sprite covers a twelfth of the picture, and half of the caption is about it
HEIGHT, WIDTH = 64, 96


@dataclass(frozen=True)
class Data:
    """Where a stage finds its parts and how much it learns from at a time.

    family: the folder of the family in the making. cache: folder for encoded clips. clips: how many different
    ones. batch_frames: frames per step, as many clips as fit. frames: frames per clip, one of them drawn per step.
    crop: edge in latent pixels of the upscaler's crops, 0 for whole pictures. freeze_text: leave the base's text
    encoder as it is, as LaVie does, so that later stages can rely on it.
    """

    family: Path
    cache: Path
    clips: int
    batch_frames: int
    frames: tuple[int, ...] = (16,)
    crop: int = 0
    freeze_text: bool = False
    seed: int = 0
    device: str = "cpu"


Loss = Callable[[nn.Module, torch.Generator], dict[str, Tensor]]


class Base:
    """Text to video: UNet and text encoder learn together, until the text encoder is frozen.

    Single frames have captions without motion at times; their trails and headings tell the rest.
    """

    def __init__(self, data: Data) -> None:
        self.data = data
        self.tokenizer = tokenizer_of(data.family)
        self.clips = scenes(data.seed, data.clips)
        vae = load_vae(data.family / "vae", device=data.device)
        file = data.cache / f"clips-{data.seed}-{data.clips}-16.pt"
        self.latents = clip_latents(vae, self.clips, 16, HEIGHT, WIDTH, file)
        self.masks = clip_masks(self.clips, 16, HEIGHT, WIDTH)

    def model(self, init: Path | None) -> nn.ModuleDict:
        unet, text_encoder = new_unet("base"), new_text_encoder(self.tokenizer)
        if init is not None:
            unet.load_state_dict(load_unet(init / "base", dtype=torch.float32).state_dict())
            text_encoder = load_text_encoder(init / "text_encoder", self.data.family / "tokenizer").model
        text_encoder.requires_grad_(not self.data.freeze_text)
        return nn.ModuleDict({"unet": unet, "text_encoder": text_encoder}).to(self.data.device)

    def loss(self, model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        frames = _choose(self.data.frames, generator)
        batch = max(1, self.data.batch_frames // frames)
        rows = torch.randint(len(self.clips), (batch,), generator=generator).tolist()
        starts = torch.randint(16 - frames + 1, (batch,), generator=generator).tolist()
        latents, masks = (
            torch.stack([part[r, :, s : s + frames] for r, s in zip(rows, starts, strict=True)]).float()
            for part in (self.latents, self.masks)
        )
        still = frames == 1 and uniform(generator, 0, 1) < STILL_CAPTIONS
        captions = [caption(self.clips[row], generator, still) for row in rows]
        text = embed(model["text_encoder"], self.tokenizer, drop_text(captions, generator))
        emphasis = 1 + (SPRITE_WEIGHT - 1) * masks
        error = denoising_error(model["unet"], latents, text, generator, PREDICTION_TYPES["base"], emphasis=emphasis)
        return {"total": error}

    def save(self, model: nn.Module, family: Path) -> None:
        save_unet(model["unet"], family / "base" / "model.safetensors", dtype=torch.float16, config_file=True)
        save_text_model(model["text_encoder"].half(), family / "text_encoder")


class Interpolation:
    """Every output frame from noise and the nearest key frames; windows of 4n + 1 frames of 61-frame clips."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.tokenizer, self.text_encoder = tokenizer_of(data.family), frozen_text_encoder(data)
        self.clips = scenes(data.seed + 1, data.clips)
        vae = load_vae(data.family / "vae", device=data.device)
        file = data.cache / f"clips-{data.seed + 1}-{data.clips}-61.pt"
        self.latents = clip_latents(vae, self.clips, 61, HEIGHT, WIDTH, file)

    def model(self, init: Path | None) -> nn.ModuleDict:
        unet = new_unet("interpolation")
        if init is not None:
            unet.load_state_dict(load_unet(init / "interpolation", dtype=torch.float32).state_dict())
        return nn.ModuleDict({"unet": unet}).to(self.data.device)

    def loss(self, model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        frames = _choose(self.data.frames, generator)
        batch = max(1, self.data.batch_frames // frames)
        rows = torch.randint(len(self.clips), (batch,), generator=generator).tolist()
        keys = torch.randint((61 - frames) // 4 + 1, (batch,), generator=generator).tolist()
        latents = torch.stack([self.latents[r, :, 4 * k : 4 * k + frames] for r, k in zip(rows, keys, strict=True)])
        latents = latents.float()
        condition = latents[:, :, ::4][:, :, key_frame_of(frames)]
        captions = [caption(self.clips[row], generator) for row in rows]
        with torch.no_grad():
            text = embed(self.text_encoder, self.tokenizer, drop_text(captions, generator))
        error = denoising_error(model["unet"], latents, text, generator, PREDICTION_TYPES["interpolation"], condition)
        return {"total": error}

    def save(self, model: nn.Module, family: Path) -> None:
        file = family / "interpolation" / "model.safetensors"
        save_unet(model["unet"], file, dtype=torch.float16, config_file=True)


class Upscaler:
    """Large latents from noise and noised small pixels, which half of the time have been through the base VAE."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.tokenizer, self.text_encoder = tokenizer_of(data.family), frozen_text_encoder(data)
        self.clips = scenes(data.seed + 2, data.clips)
        self.latents, self.pixels = self._encoded()

    @torch.no_grad()
    def _encoded(self) -> tuple[Tensor, Tensor]:
        """Scaled latents float16 [clips, 4, 8, h, w] and low-resolution pixels float16 [clips, 3, 8, h, w]."""
        file = self.data.cache / f"pairs-{self.data.seed + 2}-{self.data.clips}-8.pt"
        if not file.exists():
            large = load_vae(self.data.family / "upscaler_vae", device=self.data.device)
            small = load_vae(self.data.family / "vae", device=self.data.device)
            generator = torch.Generator().manual_seed(self.data.seed + 3)
            pairs = [_pair(s, large, small, generator) for s in tqdm(self.clips, desc="encoding", mininterval=10)]
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.save([torch.stack(part) for part in zip(*pairs, strict=True)], file.with_suffix(".partial"))
            file.with_suffix(".partial").replace(file)
        return tuple(torch.load(file, weights_only=True, mmap=True))

    def model(self, init: Path | None) -> nn.ModuleDict:
        unet = new_unet("upscaler")
        if init is not None:
            unet.load_state_dict(load_unet(init / "upscaler", dtype=torch.float32).state_dict())
        return nn.ModuleDict({"unet": unet}).to(self.data.device)

    def loss(self, model: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        batch = max(1, self.data.batch_frames // 8)
        rows = torch.randint(len(self.clips), (batch,), generator=generator).tolist()
        corners = [self._crop(generator) for _ in rows]
        latents, pixels = (
            torch.stack([part[(row, ..., *corner)] for row, corner in zip(rows, corners, strict=True)]).float()
            for part in (self.latents, self.pixels)
        )
        captions = [caption(self.clips[row], generator) for row in rows]
        with torch.no_grad():
            text = embed(self.text_encoder, self.tokenizer, drop_text(captions, generator))
        noise_level = int(torch.randint(0, 100, (), generator=generator))
        noise = torch.randn(pixels.shape, generator=generator)
        pixels = low_resolution_noise(pixels, noise, noise_level)
        labels = torch.full((batch,), noise_level)
        error = denoising_error(model["unet"], latents, text, generator, PREDICTION_TYPES["upscaler"], pixels, labels)
        return {"total": error}

    def _crop(self, generator: torch.Generator) -> tuple[slice, slice]:
        if not self.data.crop:
            return slice(None), slice(None)
        edge = self.data.crop
        row, column = (int(torch.randint(n - edge + 1, (), generator=generator)) for n in (HEIGHT, WIDTH))
        return slice(row, row + edge), slice(column, column + edge)

    def save(self, model: nn.Module, family: Path) -> None:
        file = family / "upscaler" / "model.safetensors"
        save_unet(model["unet"], file, dtype=torch.float16, config_file=True)


def embed(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Text embeddings [batch, 77, channels]."""
    tokens = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    return text_encoder(tokens.to(text_encoder.device)).last_hidden_state


def drop_text(captions: list[str], generator: torch.Generator) -> list[str]:
    """Some captions are left empty, so that guidance has something to start from."""
    return ["" if uniform(generator, 0, 1) < TEXT_DROPOUT else text for text in captions]


def denoising_error(
    unet: nn.Module,
    latents: Tensor,
    text: Tensor,
    generator: torch.Generator,
    prediction_type: str,
    condition: Tensor | None = None,
    labels: Tensor | None = None,
    emphasis: Tensor | None = None,
) -> Tensor:
    """The weighted loss of one batch at random timesteps; all draws come from the generator."""
    device = text.device
    timesteps = torch.randint(NUM_TRAIN_TIMESTEPS, (len(latents),), generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    sample = add_noise(latents, noise, timesteps)
    if condition is not None:
        sample = torch.cat((sample, condition), dim=1)
    labels = None if labels is None else labels.to(device)
    prediction = unet(sample.to(device), timesteps.to(device), text, class_labels=labels)
    truth = target(latents, noise, timesteps, prediction_type)
    emphasis = None if emphasis is None else emphasis.to(device)
    return weighted_error(prediction, truth.to(device), timesteps.to(device), prediction_type, emphasis)


def frozen_text_encoder(data: Data) -> CLIPTextModel:
    encoder = load_text_encoder(data.family / "text_encoder", data.family / "tokenizer", device=data.device)
    return encoder.model.requires_grad_(False)


def _pair(
    scene: Scene, large: AutoencoderKL, small: AutoencoderKL, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Eight frames of a scene, at 8 or at 30 frames a second: large latents and small pixels."""
    spacing = _choose((1 / 15, 1 / 60), generator)
    start = uniform(generator, 0, 1 - 7 * spacing)
    video, _ = render([scene], start + spacing * torch.arange(8), 4 * HEIGHT, 4 * WIDTH)
    video = video.to(large.device)
    latents = encode_video(large, video)[0]
    pixels = interpolate(video[0], scale_factor=0.25, mode="area")[None]
    if uniform(generator, 0, 1) < 0.5:
        pixels = decode_latents(small, encode_video(small, pixels)).clamp(-1, 1)
    return latents.half().cpu(), pixels[0].half().cpu()


def _choose(options: tuple, generator: torch.Generator):
    return options[int(torch.randint(len(options), (), generator=generator))]


TASKS = {"base": Base, "interpolation": Interpolation, "upscaler": Upscaler}
