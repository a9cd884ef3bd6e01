"""From images to a LoRA file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ...checkpoints import load_unet
from ...checkpoints.save import write_safetensors
from ...errors import UsageError
from ...file_names import check_name
from ...sampling.schedule import NUM_TRAIN_TIMESTEPS
from ..data import ClipRequest, Mixture, TrainingData
from ..loop import train
from ..packages import check_packages
from ..run_state import claimed_run
from ..settings import StageSettings
from ..stages import Denoiser, StageNetworks
from ..stages.preview import PREVIEW_PROMPTS
from ..start import load_text_of, load_vae_of
from .adapters import add_adapters, halve_frozen, lora_tensors, metadata
from .camera import with_camera
from .data import CaptionedImage, Encoded, encoded, own_clips, with_crops
from .job import Events, LoraJob, Report
from .settings import HANDHELD_MAX_TIMESTEP, IMAGE_MAX_TIMESTEP
from .stage import PersonalisedBase

OWN, HANDHELD, PRIOR = "pictures", "pictures, hand-held", "prior.safetensors"
HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class LoraResult:
    """The result of training. file: the LoRA; None if the run was stopped by `signal` and can resume."""

    file: Path | None
    steps: int
    seconds: float
    stopped: bool
    signal: int


def train_lora(job: LoraJob, images: Sequence[CaptionedImage], events: Events | None = None) -> LoraResult:
    """Teach a LoRA for the family's base what the images show, and write it; the family stays as it is.

    Only the spatial layers change (paper, section 5.6), trained as an image model, or beside clips made by the base;
    motion stays the base's.

    Args:
        images: of the shape of `job.size`; larger ones make sharper crops, see `LoraSettings.reading_size`.

    Raises:
        UsageError: no images, images of another shape, a size that does not fit, or settings that cannot work.
        LavieError: the family's files are missing or broken, or the file cannot be written.
    """
    events = events or Events()
    check_packages()
    if job.output.suffix != ".safetensors":
        raise UsageError(f"A LoRA is written as .safetensors, not {job.output.name}.")
    _check(images, job.size)
    check_name(job.run)
    with claimed_run(job.run, job.output):
        return _train(job, images, events)


def _train(job: LoraJob, images: Sequence[CaptionedImage], events: Events) -> LoraResult:
    settings, loop = job.settings, replace(job.loop, save_frozen=False)  # the family stays as it is
    prompts = tuple(dict.fromkeys(image.caption for image in images))[:PREVIEW_PROMPTS]
    stage = lora_stage(job, prompts)
    sources = _sources(stage, images, job, events.phase)
    add_adapters(stage.model.unet, stage.parts.text_encoder.model, settings, loop.seed)
    if loop.mixed_precision != "no":
        halve_frozen(stage.model, HALF[loop.mixed_precision])
    recorded = {**settings.recorded(), "pictures": sources.own.fingerprint()}
    result = train(stage, _data(sources, job), loop, job.run, events.step, recorded, events.samples)
    if result.is_main and not result.stopped:
        text = result.model.text_model if settings.train_text else None
        described = metadata(job, result.steps, sources.own.captions)
        write_safetensors(lora_tensors(result.model.unet, text, settings), job.output, described)
    file = None if result.stopped else job.output
    return LoraResult(file, result.steps, result.seconds, result.stopped, result.signal)


def lora_stage(job: LoraJob, prompts: tuple[str, ...] = ()) -> PersonalisedBase:
    """The family's base as an image model, on the device, before it gets adapters; prompts: of its samples."""
    family, settings = job.family, job.settings
    config = family.stage("base")
    unet = load_unet(family.path(config.unet), stage="base", dtype=torch.float32)
    text_encoder, _ = load_text_of(family, "base", None, learns=False)
    parts = StageNetworks(family, config, text_encoder, load_vae_of(family, "base"))
    model = Denoiser(unet.to(job.device), text_encoder.model if settings.train_text else None)
    parts.to(job.device)
    return PersonalisedBase(
        model,
        parts,
        StageSettings(
            frames=(settings.prior_frames,),
            height=job.size[0],
            width=job.size[1],
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
    """own: the images. prior: what the base makes. handheld: clips of the images."""

    own: Encoded
    prior: Encoded | None = None
    handheld: Encoded | None = None


def _sources(
    stage: PersonalisedBase, images: Sequence[CaptionedImage], job: LoraJob, report: Report | None
) -> _Sources:
    def phase(name: str) -> Callable[[int, int], None] | None:
        return None if report is None else partial(report, name)

    settings, seed = job.settings, job.loop.seed
    crops, crop_scale, frames = settings.random_crops, settings.crop_scale, settings.prior_frames
    highest = IMAGE_MAX_TIMESTEP if settings.class_word else NUM_TRAIN_TIMESTEPS
    cropped = with_crops(images, crops, crop_scale, seed, job.size)
    own = encoded(OWN, cropped, stage.parts, phase("encode"), highest)
    if not settings.prior_images:
        return _Sources(own)
    size, kept = (frames, *job.size), job.run / PRIOR
    prior = own_clips(stage.model, stage.parts, settings, size, seed, kept, phase("prior"))
    if not settings.handheld_share:
        return _Sources(own, prior)
    moved = with_camera(images, 1 + crops, crop_scale, seed, job.size, frames, settings.camera_moves)
    return _Sources(own, prior, encoded(HANDHELD, moved, stage.parts, phase("encode"), HANDHELD_MAX_TIMESTEP))


def _data(sources: _Sources, job: LoraJob) -> TrainingData:
    own, prior, settings = sources.own, sources.prior, job.settings
    batch_size, seed = job.loop.batch_size, job.loop.seed
    if prior is not None and settings.jointly:
        return TrainingData(
            videos=_clips(prior, sources.handheld, settings.handheld_share),
            request=ClipRequest(settings.prior_frames, *job.size),
            images=Mixture([own], {own.name: 1.0}),
            num_images=settings.images_per_clip,
            image_request=ClipRequest(1, *job.size),
            batch_size=batch_size,
            seed=seed,
        )
    weights = {own.name: 1.0} if prior is None else {own.name: 1.0, prior.name: settings.prior_weight}
    videos = Mixture([own] if prior is None else [own, prior], weights)
    return TrainingData(videos=videos, request=ClipRequest(1, *job.size), batch_size=batch_size, seed=seed)


def _clips(prior: Encoded, handheld: Encoded | None, share: float) -> Mixture:
    if handheld is None:
        return Mixture([prior])
    return Mixture([prior, handheld], {prior.name: 1 - share, handheld.name: share})


def check_size(size: tuple[int, int]) -> None:
    """Refuse a height or width that the VAE cannot halve three times."""
    if any(side % 8 for side in size):
        raise UsageError(f"The size to learn at must be divisible by 8, not {size[0]}x{size[1]}.")


def _check(images: Sequence[CaptionedImage], size: tuple[int, int]) -> None:
    if not images:
        raise UsageError("There are no images to learn from.")
    check_size(size)
    height, width = size
    for image in images:
        rows, columns = image.pixels.shape[-2:]
        if abs(rows * width - columns * height) > max(height, width):
            raise UsageError(
                f"The image {image.name} is {rows}x{columns}, which is not the shape of {height}x{width}: crop it "
                "first, as `images_in` does."
            )
