"""One loaded stage of a family: its UNet, VAE and text encoder, and its settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..checkpoints import load_unet, single_file_parts
from ..config import BUNDLED, Family, StageConfig, find_family
from ..errors import LavieError, UsageError
from ..models import VideoUNet
from ..models.latents import decode_slices, to_uint8
from ..models.text_encoder import TextEncoder, load_text_encoder
from ..models.vae import load_vae
from ..runtime import choose_device, choose_dtype, storage_device
from ..sampling import TextCondition
from .output import Callback

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from typing_extensions import Self

    from ..lora import Applied, Lora, LoraStack

log = logging.getLogger(__name__)

Change = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Stage:
    """The parts of a stage on their device; `dtype` is the precision of UNet and text encoder."""

    name: str
    family: Family
    config: StageConfig
    unet: VideoUNet
    vae: AutoencoderKL
    text_encoder: TextEncoder
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(
        cls,
        name: str,
        name_or_path: str | Family,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> Stage:
        """Load the stage `name` of a family.

        Raises:
            LavieError: the family has no such stage, or its files are missing, broken or of another stage.
        """
        family = name_or_path if isinstance(name_or_path, Family) else find_family(name_or_path)
        config = family.stage(name)
        device = choose_device(device)
        dtype = choose_dtype(dtype, device)
        require_files(family, config)
        return cls(
            name=name,
            family=family,
            config=config,
            unet=load_unet(family.path(config.unet), stage=name, dtype=dtype, device=device),
            vae=load_vae(part_source(family, config.vae, "vae"), dtype=torch.float32, device=device),
            text_encoder=load_text_encoder(
                part_source(family, config.text_encoder, "text_encoder"),
                family.path(config.tokenizer),
                dtype=dtype,
                device=device,
            ),
            device=device,
            dtype=dtype,
        )

    def embed(self, prompts: list[str], negative_prompt: str) -> TextCondition:
        """Embeddings of the prompts, with the stage's suffix, and of the negative prompt for each."""
        prompts = [prompt + self.config.prompt_suffix for prompt in prompts]
        states = self.text_encoder.encode([*prompts, negative_prompt])
        return TextCondition.of(states[:-1], states[-1:])

    def decode(
        self, latents: Tensor, rounding: str, tile: int, callback: Callback | None, change: Change | None = None
    ) -> np.ndarray:
        """uint8 frames [batch, frames, height, width, 3] of scaled latents, a few frames at a time.

        change: what becomes of each slice, float32 [batch, 3, some frames, height, width], which begins at that frame.
        """
        if not latents.isfinite().all():
            raise LavieError(
                f"The {self.name} stage produced invalid numbers (NaN). Try dtype float32, or check the weights."
            )

        def progress(done: int, total: int) -> None:
            if callback is not None:
                callback(f"{self.name} decode", done, total, 0.0, None)

        frames, start = [], 0
        for part in decode_slices(self.vae, latents, tile=tile or None, callback=progress):
            changed = part if change is None else change(part, start)
            frames.append(to_uint8(changed, rounding).permute(0, 2, 3, 4, 1).cpu())
            start += part.shape[2]
        return torch.cat(frames, dim=1).numpy()


class StagePipeline:
    """A pipeline of one stage; `stage_name` tells which."""

    stage_name: ClassVar[str]

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.loras: tuple[Lora, ...] = ()
        self._loras: LoraStack | None = None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Family = BUNDLED,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> Self:
        """Load this stage of a family: "lavie-tiny", "lavie" or a folder.

        Raises:
            LavieError: files are missing, broken or of another stage.
        """
        return cls(Stage.load(cls.stage_name, name_or_path, device, dtype))

    def origin(self) -> dict[str, Any]:
        """Model and LoRAs, for the metadata of a video."""
        loras = {"loras": [lora.metadata() for lora in self.loras]} if self.loras else {}
        return {"model": self.stage.family.name, **loras}

    def set_loras(self, loras: Sequence[Lora]) -> list[Applied]:
        """Put exactly these LoRAs on the stage's UNet and text encoder, and tell what became of each; log what is left.

        A new strength costs no loading; without LoRAs ([]) the weights are what they were, bit for bit.

        Raises:
            LavieError: a LoRA that does not fit; everything stays as it was.
            UsageError: the upscaler, which no Stable Diffusion 1.x LoRA fits.
        """
        if self.stage.name == "upscaler":
            raise UsageError("LaVie's upscaler is no Stable Diffusion 1.x model, so no LoRA fits it.")
        from ..lora import LoraStack

        if self._loras is None:
            self._loras = LoraStack(self.stage.unet, self.stage.text_encoder.model)
        reports = self._loras.set(loras)
        self.loras = tuple(loras)
        for lora in reports:
            if lora.left:
                log.warning("%s: %d layers have no place here: %s", lora.name, len(lora.left), ", ".join(lora.left))
        return reports


def to_video(frames: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [frames, height, width, 3] → float32 [1, 3, frames, height, width] in −1…1, where its size allows it."""
    video = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None]
    return video.to(storage_device(video.numel(), device)).float() / 127.5 - 1


def padded_video(frames: np.ndarray, device: torch.device) -> Tensor:
    """`to_video` with its last rows and columns repeated up to a multiple of 8."""
    video = to_video(frames, device)
    height, width = video.shape[3:]
    return pad(video[0], (0, -width % 8, 0, -height % 8), mode="replicate")[None]


def part_source(family: Family, file: str, part: str) -> Path | dict[str, Tensor]:
    """The folder of a VAE or text encoder, or else that part of a Stable Diffusion 1.x checkpoint in one file."""
    path, single = family.path(file), family.single_file()
    if path.exists() or single is None or not file.startswith("stable-diffusion-v1"):
        return path
    return getattr(single_file_parts(single), part)


def require_files(family: Family, config: StageConfig) -> None:
    """Raise LavieError if a file of the stage is not there."""
    single = family.single_file() is not None
    for file in (config.unet, config.vae, config.text_encoder, config.tokenizer):
        stands_in = single and file in (config.vae, config.text_encoder) and file.startswith("stable-diffusion-v1")
        if not family.path(file).exists() and not stands_in:
            raise LavieError(
                f"Model '{family.name}' lacks {file} in {family.folder}. Run `python -m lavie download`, "
                "or place the file there."
            )
