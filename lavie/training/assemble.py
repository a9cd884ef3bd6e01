"""Builds a stage, its data and its run from a target's settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from ..bounded import read_json
from ..config import Family
from ..errors import LavieError, UsageError
from .data import ClipRequest, ClipSource, Handheld, Mixture, TrainingData, check_spec, open_source
from .data.clip import Clip, UnreadableClip
from .data.randomness import draw, generator_of
from .export import load_last
from .freezing import apply_scheme
from .loop import TrainResult, train
from .precompute import precompute, stored_request
from .processes import chosen_device, first_goes_first, print_once
from .run_state import claimed_run
from .settings import StageSettings
from .stages import STAGES, Denoiser, DenoisingStage, StageNetworks
from .stages.interpolation import check_frames
from .stages.preview import PREVIEW_PROMPTS
from .stages.upscaler import SCALE
from .start import load_start, load_text_of, load_vae_of, open_family
from .targets import StageTraining, UpscalerTraining


@dataclass(frozen=True)
class StepRequest:
    """The clip that a step asks for: one of the lengths and one of the rates, drawn by the step's number."""

    frames: tuple[int, ...]
    rates: tuple[float | None, ...]
    height: int
    width: int
    crop: str
    seed: int

    def __call__(self, step: int) -> ClipRequest:
        generator = generator_of(self.seed, "request", step)
        frames = self.frames[draw(generator, len(self.frames))]
        rate = self.rates[draw(generator, len(self.rates))]
        return ClipRequest(frames, self.height, self.width, rate, self.crop)


def train_stage(settings: StageTraining) -> TrainResult[Denoiser] | None:
    """Everything that `lavie train` does for a stage; None where nothing was trained.

    Raises:
        LavieError, UsageError: something is missing, unreadable or does not fit.
    """
    device = chosen_device(settings.loop.device)
    for spec in (*settings.data.videos, *settings.data.images):
        check_spec(_split_weight(spec)[0])
    with nullcontext() if settings.run.export else claimed_run(settings.run.run_folder):
        return _train_stage(settings, device)


def _train_stage(settings: StageTraining, device: torch.device) -> TrainResult[Denoiser] | None:
    with first_goes_first(device):
        family = open_family(settings.start.family, settings.stage, settings.start.init)
    stage = build_stage(settings, family)
    kept, what = recorded(settings, stage.settings), f"{settings.stage} network"
    return into_family(stage, lambda: training_data(settings, stage, device), settings, kept, what)


def into_family(
    stage: Any, data: Callable[[], TrainingData], settings: Any, kept: dict[str, Any], what: str
) -> TrainResult[Any] | None:
    """Train a stage, or take its last checkpoint, and write `what` into the family; settings: of a target."""
    folder, run, loop = settings.start.family, settings.run, settings.loop
    if run.export:
        step = load_last(stage, run.run_folder, loop.ema_decay)
        stage.save(stage.model.eval(), folder)
        print_once(f"wrote the {what} of step {step} into {folder}")
        return None
    found = data()
    if not loop.steps:
        return None
    result = train(stage, found, loop, run.run_folder, recorded=kept)
    if result.is_main and not result.stopped:
        stage.save(result.model, folder)
        print_once(f"wrote the {what} into {folder}")
    return result


def recorded(settings: StageTraining, resolved: StageSettings) -> dict[str, Any]:
    """What a run must keep when it resumes, besides the loop's own settings: its data and its objective.

    Names and values are those of older versions, so that their runs can resume.
    """
    data = settings.data
    return {
        "stage": settings.stage,
        "videos": data.videos,
        "images": data.images,
        "fps": data.fps,
        "cut_scenes": data.cut_scenes,
        "curriculum": _stages_in(data.curriculum) if data.curriculum else None,
        **asdict(settings.filters),
        **{name: value for name, value in asdict(resolved).items() if name != "prompts"},
    }


def build_stage(settings: StageTraining, family: Family) -> DenoisingStage:
    """The stage with the network that it starts from, with weights frozen as requested."""
    name, init, seed = settings.stage, settings.start.init, settings.loop.seed
    resolved = stage_settings(settings, family)
    start = load_start(family, name, init, resolved.conditioning, seed)
    if start.fresh and settings.objective.train is None:
        resolved = replace(resolved, train="all")
    torch.manual_seed(seed)
    unet = apply_scheme(start.unet, resolved.train, resolved.lora_rank)
    text_encoder, is_new = load_text_of(family, name, init, resolved.train_text)
    text_encoder.model.requires_grad_(resolved.train_text)
    parts = StageNetworks(
        family=family,
        config=family.stage(name),
        text_encoder=text_encoder,
        vae=load_vae_of(family, name),
        base_vae=load_vae_of(family, "base") if name == "upscaler" else None,
        text_is_new=is_new,
    )
    print_once(f"starts from {start.origin}; learns: {resolved.train}")
    return STAGES[name](Denoiser(unet, text_encoder.model if resolved.train_text else None), parts, resolved)


def stage_settings(settings: StageTraining, family: Family) -> StageSettings:
    """What the user asks for, with the family's sizes as defaults."""
    scale = SCALE if settings.stage == "upscaler" else 1
    height, width = settings.data.size or (scale * family.base.height, scale * family.base.width)
    objective = {each.name: getattr(settings.objective, each.name) for each in fields(settings.objective)}
    resolved = StageSettings(
        **{
            **objective,
            "frames": settings.frames,
            "height": height,
            "width": width,
            "patch": settings.data.patch,
            "images_per_clip": settings.images_per_clip,
            "pictures_alone": settings.images_alone,
            "train": settings.objective.train or settings.scheme,
        }
    )
    if settings.stage == "interpolation":
        check_frames(resolved.frames)
    if settings.stage == "extension" and min(resolved.frames) < 2:
        raise UsageError("--frames of the extension must be 2 or more: one is given, the others are made.")
    _check_sizes(resolved, settings.stage)
    return resolved


def training_data(settings: StageTraining, stage: DenoisingStage, device: torch.device) -> TrainingData:
    """The clips and images of the run, encoded first if --precompute is given; reports what was left out."""
    resolved, seed = stage.settings, settings.loop.seed
    alone = resolved.pictures_alone
    rates = (None,) if alone else settings.data.rates(stage.parts.config.fps)
    videos, images = _collections(settings)
    height, width = resolved.patch or (resolved.height, resolved.width)
    crop = "center" if resolved.patch is None else "patch"
    whole = stored_request(resolved.frames, rates, resolved.height, resolved.width)
    stage.sample_clips = tuple(_first_clips(videos.sources[0], replace(whole, num_frames=max(resolved.frames))))
    if settings.data.precompute is not None:
        encoded = (stage, settings.data.precompute, device, settings.data.precompute_text)
        videos = replace(videos, sources=precompute(videos.sources, whole, *encoded))
        if images is not None:
            one = replace(whole, num_frames=1, fps=None)
            images = replace(images, sources=precompute(images.sources, one, *encoded))
    return TrainingData(
        videos=Mixture(videos.sources, videos.schedule(settings.data.curriculum)),
        request=StepRequest(resolved.frames, rates, height, width, crop, seed),
        batch_size=settings.loop.batch_size,
        seed=seed,
        images=None if images is None else Mixture(images.sources, images.schedule()),
        num_images=resolved.images_per_clip,
        image_request=ClipRequest(1, height, width, None, crop),
    )


@dataclass(frozen=True)
class Collection:
    """Opened sources, and the weights that were asked for, by the specs that name them (None: by their sizes)."""

    sources: list[ClipSource]
    weights: Sequence[float | None]
    specs: list[str]

    @classmethod
    def open(cls, specs: Sequence[str], settings: StageTraining, images: bool = False) -> Collection:
        split, data = [_split_weight(spec) for spec in specs], settings.data
        found = data.cache or settings.run.run_folder / "data"
        options = {"cut_scenes": data.cut_scenes, "cache": data.cache, "found": found}
        sources = [open_source(spec, settings.filters, images, **options) for spec, _ in split]
        for source in sources:
            print_once(source.report.text())
        return cls(sources, [weight for _, weight in split], [spec for spec, _ in split])

    def joined(self, others: Sequence[ClipSource], share: float) -> Collection:
        """These, and others that get `share` of the steps."""
        own = [1 if weight is None else weight for weight in self.weights]
        weights = [(1 - share) * weight / sum(own) for weight in own] + [share / len(others)] * len(others)
        return Collection([*self.sources, *others], weights, [*self.specs, *(other.name for other in others)])

    def schedule(self, curriculum: Path | None = None) -> list[tuple[int, dict[str, float]]] | None:
        """Weights over steps, as `Mixture` takes them."""
        if curriculum is not None:
            names = dict(zip(self.specs, (source.name for source in self.sources), strict=True))
            return read_curriculum(curriculum, names)
        if all(weight is None for weight in self.weights):
            return None
        weights = zip(self.sources, self.weights, strict=True)
        return [(0, {source.name: 1.0 if weight is None else weight for source, weight in weights})]


def _collections(settings: StageTraining) -> tuple[Collection, Collection | None]:
    """The sources of clips, and the images that are learned beside them."""
    if settings.images_alone:
        return Collection.open(settings.data.images, settings, images=True), None
    videos = Collection.open(settings.data.videos, settings)
    if not settings.data.images:
        return videos, None
    images = Collection.open(settings.data.images, settings, images=True)
    if isinstance(settings, UpscalerTraining):
        handheld = [Handheld(source) for source in images.sources]
        return videos.joined(handheld, settings.objective.handheld_share), None
    return videos, images


def read_curriculum(file: Path, names: dict[str, str]) -> list[tuple[int, dict[str, float]]]:
    """[(step, {source's name: weight})] of a JSON file that names the sources by their specs.

    Raises:
        UsageError: the file is not of that form, or names a spec that is not among --videos.
    """
    form = f'{file} must hold [{{"step": 0, "weights": {{"SPEC": 1}}}}, …] with the specs of --videos'
    try:
        stages = [(int(stage["step"]), dict(stage["weights"])) for stage in _stages_in(file)]
        stages = [(step, {spec: float(weight) for spec, weight in weights.items()}) for step, weights in stages]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{form}: {error}") from error
    unknown = {spec for _, weights in stages for spec in weights} - set(names)
    if unknown:
        raise UsageError(f"{form}; not among them: {', '.join(sorted(unknown))}.")
    return [(step, {names[spec]: weight for spec, weight in weights.items()}) for step, weights in stages]


def _split_weight(spec: str) -> tuple[str, float | None]:
    """'SPEC=2' → SPEC and 2; text after the last '=' that is not a number belongs to the spec."""
    name, equals, weight = spec.rpartition("=")
    try:
        return (name, float(weight)) if equals and name else (spec, None)
    except ValueError:
        return spec, None


def _check_sizes(settings: StageSettings, stage: str) -> None:
    multiple = 8 * SCALE if stage == "upscaler" else 8  # the base VAE sees the upscaler's low-resolution input
    for option, size in (("--size", (settings.height, settings.width)), ("--patch", settings.patch)):
        if size is not None and any(side % multiple for side in size):
            raise UsageError(f"{option} of the {stage} must be divisible by {multiple}, not {size[0]}x{size[1]}.")
    if settings.patch and (settings.patch[0] > settings.height or settings.patch[1] > settings.width):
        raise UsageError(f"--patch {settings.patch[0]}x{settings.patch[1]} is larger than the clips.")


def _first_clips(source: ClipSource, request: ClipRequest) -> list[Clip]:
    """A few clips for the samples; broken files are skipped here, too, and named when training reads them."""
    clips = []
    for row in range(min(len(source), 10 * PREVIEW_PROMPTS)):
        try:
            clips.append(source.read(row, request, generator_of("sample", row)))
        except UnreadableClip:
            continue
        if len(clips) == PREVIEW_PROMPTS:
            break
    return clips


def _stages_in(file: Path) -> list[Any]:
    try:
        return read_json(file, list)
    except LavieError as error:
        raise UsageError(f"--curriculum: {error}") from error
