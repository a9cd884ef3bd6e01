"""From the command's arguments to a stage, its data and the loop's settings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ..config import Family, StageConfig
from ..errors import UsageError
from .arguments import chosen_device, loop_settings, with_defaults
from .data import ClipRequest, ClipSource, Filters, Handheld, Mixture, TrainingData, check_spec, open_source
from .data.clip import Clip, UnreadableClip
from .data.randomness import draw, generator_of
from .export import load_last
from .freezing import apply_scheme
from .loop import TrainResult, train
from .precompute import precompute, stored_request
from .processes import first_goes_first, tell
from .settings import StageSettings
from .stages import STAGES, Denoiser, DenoisingStage, StageNetworks
from .stages.interpolation import check_frames
from .stages.preview import PREVIEW_PROMPTS
from .stages.upscaler import SCALE
from .start import load_start, load_text_of, load_vae_of, open_family

DEFAULT_FRAMES = {"base": (16,), "interpolation": (61,), "upscaler": (8,), "extension": (16,)}
DEFAULT_SCHEMES = {"upscaler": "temporal"}
KEPT_RATES = ("interpolation", "upscaler")  # stages that learn from frames as they follow in the file
IMAGES_PER_CLIP = 4
DEFAULTS = {
    "text_dropout": 0.1,
    "batch": 8,
    "learning_rate": 1e-4,
    "optimizer": "adamw",
    "warmup": 200,
    "ema": 0.999,
    "mask_weight": 1.0,
    "handheld_share": 0.3,
}


@dataclass(frozen=True)
class StepRequest:
    """The clip that a step wants: one of the lengths and one of the rates, drawn by the step's number."""

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


def train_stage(args: argparse.Namespace) -> TrainResult | None:
    """Everything that `lavie train` does for a stage; None where nothing was trained.

    Raises:
        LavieError, UsageError: what is missing, unreadable or does not fit.
    """
    args, device = with_defaults(args, **DEFAULTS), chosen_device(args.device)
    for spec in (*args.videos, *args.images):
        check_spec(_split_weight(spec)[0])
    with first_goes_first(device):
        family = open_family(args.family, args.stage, args.init)
    stage = build_stage(args, family)
    if args.export:
        step = load_last(stage, args.run_folder, args.ema)
        stage.save(stage.model, args.family)
        tell(f"wrote the {args.stage} network of step {step} into {args.family}")
        return None
    data = training_data(args, stage, device)
    if not args.steps:
        return None
    result = train(stage, data, loop_settings(args), args.run_folder, recorded=recorded(args, stage.settings))
    if result.is_main and not result.stopped:
        stage.save(result.model, args.family)
        tell(f"wrote the {args.stage} network into {args.family}")
    return result


def recorded(args: argparse.Namespace, settings: StageSettings) -> dict:
    """What a run must keep when it goes on, besides the loop's own: its data and its objective."""
    curriculum = json.loads(args.curriculum.read_text("utf-8")) if args.curriculum else None
    names = ("stage", "videos", "images", "fps", "handheld_share", "cut_scenes", "min_frames", "min_words", "min_size")
    data = {name: getattr(args, name) for name in (*names, "min_aesthetic", "lora_rank")}
    return {**data, "curriculum": curriculum, **{k: v for k, v in asdict(settings).items() if k != "prompts"}}


def build_stage(args: argparse.Namespace, family: Family) -> DenoisingStage:
    """The stage with the network that it starts from, frozen as asked."""
    name = args.stage
    settings = stage_settings(args, family)
    start = load_start(family, name, args.init, settings.conditioning, args.seed)
    if start.fresh and args.train is None:
        settings = replace(settings, train="all")
    torch.manual_seed(args.seed)
    unet = apply_scheme(start.unet, settings.train, args.lora_rank)
    text_encoder, is_new = load_text_of(family, name, args.init, settings.train_text)
    text_encoder.model.requires_grad_(settings.train_text)
    parts = StageNetworks(
        family=family,
        config=family.stage(name),
        text_encoder=text_encoder,
        vae=load_vae_of(family, name),
        base_vae=load_vae_of(family, "base") if name == "upscaler" else None,
        text_is_new=is_new,
    )
    tell(f"starts from {start.origin}; learns: {settings.train}")
    return STAGES[name](Denoiser(unet, text_encoder.model if settings.train_text else None), parts, settings)


def stage_settings(args: argparse.Namespace, family: Family) -> StageSettings:
    """What the arguments say, and the family's sizes where they say nothing."""
    height, width = args.size or _size_of(family, args.stage)
    alone = not args.videos  # only the base may: see cli.check
    frames = (1,) if alone else tuple(args.frames or DEFAULT_FRAMES[args.stage])
    if args.stage == "interpolation":
        check_frames(frames)
    if args.stage == "extension" and min(frames) < 2:
        raise UsageError("--frames of the extension must be 2 or more: one is given, the others are made.")
    images = 0
    if args.stage == "base" and args.images and not alone:
        images = IMAGES_PER_CLIP if args.images_per_clip is None else args.images_per_clip
    settings = StageSettings(
        frames=frames,
        height=height,
        width=width,
        patch=args.patch,
        images_per_clip=images,
        image_weight=args.image_weight,
        pictures_alone=alone,
        anchor_share=args.anchor_share,
        text_dropout=args.text_dropout,
        loss_weight=args.loss_weight,
        mask_weight=args.mask_weight,
        train=args.train or ("spatial" if alone else DEFAULT_SCHEMES.get(args.stage, "all")),
        train_text=args.train_text,
        conditioning=args.conditioning,
        max_noise_level=args.max_noise_level,
        prompts=tuple(args.prompt),
    )
    _check_sizes(settings, args.stage)
    return settings


def training_data(args: argparse.Namespace, stage: DenoisingStage, device: torch.device) -> TrainingData:
    """The clips and pictures of the run, encoded first with --precompute; reports what was left out."""
    settings = stage.settings
    alone = settings.pictures_alone
    rates = (None,) if alone else _rates(args, stage.parts.config)
    videos = Collection.open(args, args.images if alone else args.videos, pictures=alone)
    pictures = Collection.open(args, args.images, pictures=True) if args.images and not alone else None
    for source in [*videos.sources, *(pictures.sources if pictures else [])]:
        tell(source.report.text())
    if args.stage == "upscaler" and pictures is not None:
        videos = videos.joined([Handheld(source) for source in pictures.sources], args.handheld_share)
        pictures = None
    height, width = settings.patch or (settings.height, settings.width)
    crop = "center" if settings.patch is None else "patch"
    whole = stored_request(settings.frames, rates, settings.height, settings.width)
    stage.sample_clips = tuple(_first_clips(videos.sources[0], replace(whole, num_frames=max(settings.frames))))
    if args.precompute is not None:
        encoded = (stage, args.precompute, device, args.precompute_text)
        videos = replace(videos, sources=precompute(videos.sources, whole, *encoded))
        if pictures is not None:
            one = replace(whole, num_frames=1, fps=None)
            pictures = replace(pictures, sources=precompute(pictures.sources, one, *encoded))
    return TrainingData(
        videos=Mixture(videos.sources, videos.schedule(args.curriculum)),
        request=StepRequest(settings.frames, rates, height, width, crop, args.seed),
        batch_size=args.batch,
        seed=args.seed,
        images=None if pictures is None else Mixture(pictures.sources, pictures.schedule()),
        num_images=settings.images_per_clip,
        image_request=ClipRequest(1, height, width, None, crop),
    )


@dataclass(frozen=True)
class Collection:
    """Opened sources, and the weights that were asked for, by the specs that name them (None: by their sizes)."""

    sources: list[ClipSource]
    weights: list[float | None]
    specs: list[str]

    @classmethod
    def open(cls, args: argparse.Namespace, given: Sequence[str], pictures: bool = False) -> Collection:
        split = [_split_weight(spec) for spec in given]
        height, width = args.min_size or (0, 0)
        filters = Filters(args.min_frames, args.min_words, height, width, args.min_aesthetic)
        found = args.cache or args.run_folder / "data"
        options = {"cut_scenes": args.cut_scenes, "cache": args.cache, "found": found}
        sources = [open_source(spec, filters, pictures, **options) for spec, _ in split]
        return cls(sources, [weight for _, weight in split], [spec for spec, _ in split])

    def joined(self, others: list[ClipSource], share: float) -> Collection:
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


def read_curriculum(file: Path, names: dict[str, str]) -> list[tuple[int, dict[str, float]]]:
    """[(step, {source's name: weight})] of a JSON file that names the sources by their specs.

    Raises:
        UsageError: the file is not of that form, or names a spec that is not among --videos.
    """
    form = f'{file} must hold [{{"step": 0, "weights": {{"SPEC": 1}}}}, …] with the specs of --videos'
    try:
        stages = [(int(stage["step"]), dict(stage["weights"])) for stage in json.loads(file.read_text("utf-8"))]
        stages = [(step, {spec: float(weight) for spec, weight in weights.items()}) for step, weights in stages]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{form}: {error}.") from error
    unknown = {spec for _, weights in stages for spec in weights} - set(names)
    if unknown:
        raise UsageError(f"{form}; not among them: {', '.join(sorted(unknown))}.")
    return [(step, {names[spec]: weight for spec, weight in weights.items()}) for step, weights in stages]


def _split_weight(spec: str) -> tuple[str, float | None]:
    """'SPEC=2' → SPEC and 2; what follows a last '=' and is no number belongs to the spec."""
    name, equals, weight = spec.rpartition("=")
    try:
        return (name, float(weight)) if equals and name else (spec, None)
    except ValueError:
        return spec, None


def _rates(args: argparse.Namespace, config: StageConfig) -> tuple[float | None, ...]:
    if args.fps:
        return tuple(rate or None for rate in args.fps)
    return (None,) if args.stage in KEPT_RATES else (config.fps or None,)


def _size_of(family: Family, stage: str) -> tuple[int, int]:
    base = family.base
    height, width = base.height, base.width
    return (SCALE * height, SCALE * width) if stage == "upscaler" else (height, width)


def _check_sizes(settings: StageSettings, stage: str) -> None:
    multiple = 8 * SCALE if stage == "upscaler" else 8  # the base VAE sees the upscaler's low-resolution input
    for option, size in (("--size", (settings.height, settings.width)), ("--patch", settings.patch)):
        if size is not None and any(side % multiple for side in size):
            raise UsageError(f"{option} of the {stage} must be divisible by {multiple}, not {size[0]}x{size[1]}.")
    if settings.patch and (settings.patch[0] > settings.height or settings.patch[1] > settings.width):
        raise UsageError(f"--patch {settings.patch[0]}x{settings.patch[1]} is larger than the clips.")


def _first_clips(source: ClipSource, request: ClipRequest) -> list[Clip]:
    """A few clips for the samples; broken files are passed over here, too, and named when training meets them."""
    clips = []
    for row in range(min(len(source), 10 * PREVIEW_PROMPTS)):
        try:
            clips.append(source.read(row, request, generator_of("sample", row)))
        except UnreadableClip:
            continue
        if len(clips) == PREVIEW_PROMPTS:
            break
    return clips
