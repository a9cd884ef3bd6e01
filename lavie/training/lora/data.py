"""The images that a LoRA learns from, with the trigger in their captions, and images made by the base itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...checkpoints.save import write_safetensors
from ...errors import LavieError, UsageError
from ...job import Job
from ...models.latents import encode_video
from ...pipelines.text_to_video import VAE_FACTOR, sample_text_to_video
from ...sampling import TextCondition
from ...sampling.schedule import NUM_TRAIN_TIMESTEPS
from ...tensor_files import read_checkpoint
from ..data import Clip, ClipRequest, ClipSource, UnreadableClip
from ..data.decode import IMAGE_SUFFIXES, read_image
from ..data.entries import read_caption
from ..data.filters import DataReport
from ..data.geometry import fit
from ..data.randomness import generator_of
from ..stages import StageNetworks
from ..stages.denoiser import Denoiser
from .settings import LoraSettings

log = logging.getLogger(__name__)

Report = Callable[[int, int], None]  # done, in all; may raise to stop
OWN_TEXT_DROPOUT = 0.1  # of the base's own clips: the prediction without a caption is half of the guidance
OTHER_CAPTION_SHARE = 0.5  # of the base's own clips, where they hardly show what they are of
CLASS_SHARE = 0.5  # of the base's own clips of the class
LAYOUT_MIN_TIMESTEP = 500  # above, a frame shows where things are and how they move, hardly what they are


@dataclass(frozen=True)
class CaptionedImage:
    """One image, float32 [3, 1, height, width] in −1…1, of any size, and its caption, perhaps nothing.

    Or what a camera shows of it, [3, frames, height, width].
    """

    name: str
    caption: str
    pixels: Tensor


class Encoded(ClipSource):
    """Images or clips as scaled latents [4, frames, h, w] in memory, with captions.

    max_timestep: they are learned only at noise levels below this one.
    """

    def __init__(
        self,
        name: str,
        captions: Sequence[str],
        latents: Sequence[Tensor],
        max_timestep: int = NUM_TRAIN_TIMESTEPS,
    ) -> None:
        self.name, self.captions, self.latents = name, tuple(captions), tuple(latents)
        self.max_timestep = max_timestep
        self.report = DataReport(name, kept=len(self.captions))

    def __len__(self) -> int:
        return len(self.captions)

    def caption(self, row: int, generator: torch.Generator) -> str:
        return self.captions[row]

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        if request.num_frames != self.latents[row].shape[1]:
            raise UsageError(f"{self.name} are no clips of {request.num_frames} frames.")
        name, tensors = f"{self.name}, image {row}", {"latents": self.latents[row]}
        return Clip(self.captions[row], name, tensors, max_timestep=self.max_timestep)

    def fingerprint(self) -> str:
        sums = [latents.double().sum().item() for latents in self.latents]
        return f"{generator_of(repr((self.captions, sums))).initial_seed():x}"


class OwnClips(Encoded):
    """What the base makes of prompts. The LoRA learns the base's own answers to them, mostly with their captions,
    sometimes without.

    At the high noise levels, where they are nearly noise, every other time they get the caption of any prior prompt:
    the base has an answer to each, so a few clips keep it unchanged for many prompts. There, the trigger also replaces
    the class word in captions every other time, so the subject moves where the class would.
    """

    def __init__(self, captions: Sequence[str], latents: Sequence[Tensor], settings: LoraSettings) -> None:
        super().__init__("the base's own clips", captions, latents)
        self.settings = settings

    def read(self, row: int, request: ClipRequest, generator: torch.Generator) -> Clip:
        clip = super().read(row, request, generator)
        dropout, other, share = torch.rand(3, generator=generator).tolist()
        if dropout < OWN_TEXT_DROPOUT:
            return replace(clip, caption="", teacher_caption="")
        prompts, caption = self.settings.prior_prompts, clip.caption
        if other < OTHER_CAPTION_SHARE:
            caption = prompts[torch.randint(len(prompts), (), generator=generator)]
        lent = self.settings.in_place_of_class(caption) if share < CLASS_SHARE else None
        least = 0 if (lent or caption) == clip.caption else LAYOUT_MIN_TIMESTEP
        return replace(clip, caption=lent or caption, teacher_caption=caption, min_timestep=least)


def with_trigger(caption: str, trigger: str) -> str:
    """The caption with the trigger before it, unless it contains it; the trigger alone if there is no caption."""
    caption = caption.strip()
    if not trigger or trigger.lower() in caption.lower():
        return caption
    return f"{trigger}, {caption}" if caption else trigger


def captioned_image(number: int, pixels: np.ndarray, caption: str, size: tuple[int, int]) -> CaptionedImage:
    """Of pixels uint8 [H, W, 3] of any size: scaled until they cover height and width, and cut around the middle."""
    name = f"image {number}"
    geometry = fit(name, pixels.shape[0], pixels.shape[1], ClipRequest(1, *size), generator_of(number))
    video = torch.from_numpy(geometry.apply(pixels).copy()).permute(2, 0, 1)[:, None].float() / 127.5 - 1
    return CaptionedImage(name, caption, video)


def images_in(folder: Path, height: int, width: int, trigger: str = "") -> tuple[list[CaptionedImage], DataReport]:
    """The images of a folder and its subfolders in that size, and what happened to every file.

    Captions are in NAME.txt beside NAME.png; with a trigger they may be missing.

    Raises:
        UsageError: no such folder, or no image in it can be used.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder} with images to learn from.")
    report = DataReport(str(folder))
    request, images = ClipRequest(1, height, width), []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES):
        name = path.relative_to(folder).as_posix()
        beside = path.with_suffix(".txt")
        try:
            caption = with_trigger(read_caption(beside) if beside.is_file() else "", trigger)
            if caption:
                images.append(CaptionedImage(name, caption, read_image(name, path, request, generator_of(name))))
            else:
                report.drop(name, "no .txt file with its caption, and no trigger")
        except UnreadableClip as error:
            report.broken.append((error.name, error.reason))
        except (OSError, ValueError) as error:
            report.broken.append((name, f"its caption cannot be read ({error})"))
    report.kept = len(images)
    if not images:
        raise UsageError(f"There is no image in {folder} to learn from. {report.text()}")
    return images, report


def with_crops(
    images: Sequence[CaptionedImage], crops: int, crop_scale: tuple[float, float], seed: int, size: tuple[int, int]
) -> list[CaptionedImage]:
    """Each image whole, and then `crops` random crops of it, all in that height and width, so that neither place nor
    size is learned with the subject. crop_scale: a crop's smallest and largest share of the height and width."""
    made = []
    for place, image in enumerate(images):
        cropped = (
            _random_crop(image.pixels, crop_scale, generator_of(seed, index + 1, place)) for index in range(crops)
        )
        made += [replace(image, pixels=resized(pixels, size)) for pixels in (image.pixels, *cropped)]
    return made


def _random_crop(pixels: Tensor, crop_scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    height, width = pixels.shape[-2:]
    between, down, right = torch.rand(3, generator=generator).tolist()
    smallest, largest = crop_scale
    rows, columns = (round(side * (smallest + (largest - smallest) * between)) for side in (height, width))
    top, left = round(down * (height - rows)), round(right * (width - columns))
    return pixels[..., top : top + rows, left : left + columns]


def resized(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """An image [3, 1, height, width] in that height and width."""
    if pixels.shape[-2:] == size:
        return pixels
    return interpolate(pixels[:, 0][None], size, mode="bicubic", antialias=True)[0, :, None].clamp(-1, 1)


def encoded(
    name: str,
    images: Sequence[CaptionedImage],
    parts: StageNetworks,
    report: Report | None = None,
    max_timestep: int = NUM_TRAIN_TIMESTEPS,
) -> Encoded:
    """The images through the stage's VAE."""
    latents = []
    for index, image in enumerate(images):
        pixels = image.pixels[None].to(next(parts.vae.parameters()).device)
        latents.append(encode_video(parts.vae, pixels)[0].float().cpu())
        if report is not None:
            report(index + 1, len(images))
    return Encoded(name, [image.caption for image in images], latents, max_timestep)


def own_clips(
    model: Denoiser,
    parts: StageNetworks,
    settings: LoraSettings,
    size: tuple[int, int, int],
    seed: int,
    file: Path,
    report: Report | None = None,
) -> OwnClips:
    """What the base makes of the prior prompts, in turn.

    size: frames (1: images), height and width in pixels. file: stores them, for when the run resumes.
    """
    prompts, count = settings.prior_prompts, settings.prior_images
    captions = [prompts[index % len(prompts)] for index in range(count)]
    asked = repr((captions, size, seed))
    config = parts.config.replaced(num_frames=size[0], height=size[1], width=size[2])
    latents = kept_latents(file, asked, (count, 4, size[0], size[1] // VAE_FACTOR, size[2] // VAE_FACTOR))
    if latents is None:
        device, made = model.unet.conv_in.weight.device, []
        negative = parts.embed(((config.negative_prompt,),))[0]
        for index, caption in enumerate(captions):
            text = TextCondition.of(parts.embed(((caption,),))[0], negative)
            job = Job.seeded(model.unet, text, config, [seed + index], device)
            made.append(sample_text_to_video(job)[0].float().cpu())
            if report is not None:
                report(index + 1, count)
        latents = torch.stack(made)
        write_safetensors({"latents": latents}, file, {"asked": asked})
    return OwnClips(captions, latents.unbind(), settings)


def kept_latents(file: Path, asked: str, shape: tuple[int, ...]) -> Tensor | None:
    """The latents in a file, if they are of this shape and of what is asked; a damaged file counts as none."""
    if not file.exists():
        return None
    try:
        stored = read_checkpoint(file)
    except LavieError as damage:
        log.warning("%s The clips in it are made once more.", damage)
        return None
    latents = stored.tensors.get("latents")
    if stored.metadata.get("asked") != asked or latents is None or latents.shape != shape:
        return None
    return latents
