"""From pictures to a LoRA file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...checkpoints import load_unet
from ...checkpoints.save import write_safetensors
from ...config import Family
from ...errors import UsageError
from ...sampling.schedule import NUM_TRAIN_TIMESTEPS
from ..data import ClipRequest, Mixture, TrainingData
from ..loop import LoopSettings, train
from ..settings import StageSettings
from ..stages import Denoiser, StageNetworks
from ..stages.preview import PREVIEW_PROMPTS
from ..start import load_text_of, load_vae_of
from .adapters import add_adapters, halve_frozen, lora_tensors, metadata
from .camera import with_camera
from .data import Encoded, Picture, encoded, own_clips, with_crops
from .settings import HANDHELD_MAX_TIMESTEP, PICTURE_MAX_TIMESTEP, LoraSettings
from .stage import PersonalisedBase

Report = Callable[[str, int, int], None]  # phase, done, in all; may raise to stop
OWN, HANDHELD, PRIOR = "pictures", "pictures, hand-held", "prior.safetensors"
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class LoraResult:
    """What came of it. file: the LoRA; None where the run was stopped by `signal`, and can go on."""

    file: Path | None
    steps: int
    seconds: float
    stopped: bool
    signal: int


def train_lora(
    family: Family,
    pictures: Sequence[Picture],
    size: tuple[int, int],
    settings: LoraSettings,
    loop: LoopSettings,
    run: Path,
    output: Path,
    device: torch.device,
    report: Report | None = None,
    on_step: Callable[[int, dict[str, Tensor]], bool | None] | None = None,
    on_samples: Callable[[int, dict[str, np.ndarray]], None] | None = None,
) -> LoraResult:
    """Teach a LoRA for the family's base what the pictures show, and write it; the family stays as it is.

    Only the spatial layers change (paper, section 5.6), learnt as by an image model, or beside clips of the base's own;
    motion stays the base's.

    Args:
        pictures: of the shape of `size`; larger ones make sharper crops, see `settings.reading_size`.
        size: height and width in pixels that are learnt at, divisible by 8.
        run: for checkpoints and logs; the same call with the same folder goes on to the very step.
        output: the .safetensors file to write, kohya's names and metadata.
        report: told of the phases "encode" and "prior" before the first step.
        on_step, on_samples: as in `loop.train`; samples show the first captions.

    Raises:
        UsageError: no pictures, pictures of another shape, a size that does not fit, or settings that cannot work.
        LavieError: the family's files are missing or broken, or the file cannot be written.
    """
    if output.suffix != ".safetensors":
        raise UsageError(f"A LoRA is written as .safetensors, not {output.name}.")
    _check(pictures, size)
    prompts = tuple(dict.fromkeys(picture.caption for picture in pictures))[:PREVIEW_PROMPTS]
    stage = lora_stage(family, settings, size, device, prompts)
    sources = _sources(stage, pictures, settings, size, loop.seed, run / PRIOR, report)
    add_adapters(stage.model.unet, stage.parts.text_encoder.model, settings, loop.seed)
    if loop.mixed_precision != "no":
        halve_frozen(stage.model, HALF[loop.mixed_precision])
    data = _data(sources, settings, size, loop)
    recorded = {**asdict(settings), "pictures": sources.own.fingerprint()}
    loop = replace(loop, save_frozen=False)  # the family stays as it is
    result = train(stage, data, loop, run, on_step, recorded, on_samples)
    if result.is_main and not result.stopped:
        text = result.model.text_model if settings.train_text else None
        tensors = lora_tensors(result.model.unet, text, settings)
        told = metadata(output.stem, family.name, settings, loop, result.steps, list(sources.own.captions), size)
        write_safetensors(tensors, output, told)
    return LoraResult(None if result.stopped else output, result.steps, result.seconds, result.stopped, result.signal)


def lora_stage(
    family: Family, settings: LoraSettings, size: tuple[int, int], device: torch.device, prompts: tuple[str, ...] = ()
) -> PersonalisedBase:
    """The family's base as an image model, on the device, before it gets adapters; prompts: of its samples."""
    config = family.stage("base")
    unet = load_unet(family.path(config.unet), stage="base", dtype=torch.float32)
    text_encoder, _ = load_text_of(family, "base", None, learns=False)
    parts = StageNetworks(family, config, text_encoder, load_vae_of(family, "base"))
    model = Denoiser(unet.to(device), text_encoder.model if settings.train_text else None)
    parts.to(device)
    return PersonalisedBase(
        model,
        parts,
        StageSettings(
            frames=(settings.prior_frames,),
            height=size[0],
            width=size[1],
            images_per_clip=settings.images_per_clip if settings.jointly else 0,
            image_weight=1 / settings.prior_weight if settings.jointly else 1.0,
            pictures_alone=not settings.jointly,
            text_dropout=settings.text_dropout,
            loss_weight=settings.loss_weight,
            train="spatial-lora",
            train_text=settings.train_text,
            prompts=prompts,
        ),
    )


@dataclass(frozen=True)
class _Sources:
    """own: the pictures. prior: what the base makes. handheld: clips of the pictures."""

    own: Encoded
    prior: Encoded | None = None
    handheld: Encoded | None = None


def _sources(
    stage: PersonalisedBase,
    pictures: Sequence[Picture],
    settings: LoraSettings,
    size: tuple[int, int],
    seed: int,
    kept: Path,
    report: Report | None,
) -> _Sources:
    def phase(name: str) -> Callable[[int, int], None] | None:
        return None if report is None else lambda done, total: report(name, done, total)

    crops, crop_scale, frames = settings.random_crops, settings.crop_scale, settings.prior_frames
    highest = PICTURE_MAX_TIMESTEP if settings.class_word else NUM_TRAIN_TIMESTEPS
    own = encoded(OWN, with_crops(pictures, crops, crop_scale, seed, size), stage.parts, phase("encode"), highest)
    if not settings.prior_images:
        return _Sources(own)
    prior = own_clips(stage.model, stage.parts, settings, (frames, *size), seed, kept, phase("prior"))
    if not settings.handheld_share:
        return _Sources(own, prior)
    moved = with_camera(pictures, 1 + crops, crop_scale, seed, size, frames, settings.camera_moves)
    return _Sources(own, prior, encoded(HANDHELD, moved, stage.parts, phase("encode"), HANDHELD_MAX_TIMESTEP))


def _data(sources: _Sources, settings: LoraSettings, size: tuple[int, int], loop: LoopSettings) -> TrainingData:
    own, prior, handheld = sources.own, sources.prior, sources.handheld
    if prior is not None and settings.jointly:
        return TrainingData(
            videos=_clips(prior, handheld, settings.handheld_share),
            request=ClipRequest(settings.prior_frames, *size),
            batch_size=loop.batch_size,
            seed=loop.seed,
            images=Mixture([own], {own.name: 1.0}),
            num_images=settings.images_per_clip,
            image_request=ClipRequest(1, *size),
        )
    weights = {own.name: 1.0} if prior is None else {own.name: 1.0, prior.name: settings.prior_weight}
    return TrainingData(
        videos=Mixture([own] if prior is None else [own, prior], weights),
        request=ClipRequest(1, *size),
        batch_size=loop.batch_size,
        seed=loop.seed,
    )


def _clips(prior: Encoded, handheld: Encoded | None, share: float) -> Mixture:
    if handheld is None:
        return Mixture([prior])
    return Mixture([prior, handheld], {prior.name: 1 - share, handheld.name: share})


def _check(pictures: Sequence[Picture], size: tuple[int, int]) -> None:
    if not pictures:
        raise UsageError("There are no pictures to learn from.")
    height, width = size
    if height % 8 or width % 8:
        raise UsageError(f"The size to learn at must be divisible by 8, not {height}x{width}.")
    for picture in pictures:
        rows, columns = picture.pixels.shape[-2:]
        if abs(rows * width - columns * height) > max(height, width):
            raise UsageError(
                f"The picture {picture.name} is {rows}x{columns}, which is not the shape of {height}x{width}: crop it "
                "first, as `pictures_in` does."
            )
