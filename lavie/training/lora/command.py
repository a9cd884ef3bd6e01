"""`lavie train lora`: from the command's arguments to a LoRA file."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...config import find_family
from ...errors import UsageError
from ..arguments import chosen_device, loop_settings, with_defaults
from ..processes import tell
from .camera import camera_moves
from .data import pictures_in
from .settings import LoraSettings
from .train import LoraResult, train_lora

DEFAULTS = {
    "text_dropout": 0.0,
    "batch": 2,
    "learning_rate": 1e-4,
    "optimizer": "adamw",
    "warmup": 50,
    "ema": 0.0,
    "lora_rank": 16,
    "handheld_share": 0.0,
}


def train_lora_from(args: argparse.Namespace) -> LoraResult:
    """Everything that `lavie train lora` does.

    Raises:
        LavieError, UsageError: what is missing, unreadable or does not fit.
    """
    args, device = with_defaults(args, **DEFAULTS), chosen_device(args.device)
    family = find_family(str(args.family))
    height, width = args.size or (family.base.height, family.base.width)
    settings = LoraSettings(
        rank=args.lora_rank,
        alpha=args.lora_alpha,
        targets=args.lora_targets,
        train_text=args.train_text,
        trigger=args.trigger,
        text_dropout=args.text_dropout,
        loss_weight=args.loss_weight,
        random_crops=args.random_crops,
        crop_scale=tuple(args.crop_scale),
        prior_prompts=tuple(args.prior_prompt),
        prior_images=args.prior_images if args.prior_prompt else 0,
        prior_weight=args.prior_weight,
        class_word=args.class_word,
        prior_frames=args.prior_frames,
        images_per_clip=args.images_per_clip,
        handheld_share=args.handheld_share,
        camera_moves=camera_moves(args.camera_move),
    )
    if height % 8 or width % 8:
        raise UsageError(f"--size must be divisible by 8, not {height}x{width}.")
    (folder,) = args.images
    read_at = settings.reading_size(height, width)
    pictures, report = pictures_in(Path(folder).expanduser(), *read_at, settings.trigger)
    tell(report.text())
    size, loop = (height, width), loop_settings(args)
    result = train_lora(family, pictures, size, settings, loop, args.run_folder, args.output, device, report=_told)
    if result.file is not None:
        tell(f"wrote {result.file}")
    return result


def check_lora(args: argparse.Namespace, parser: argparse.ArgumentParser, unused: tuple[str, ...]) -> None:
    """Refuse what cannot work, before anything heavy is loaded; `unused`: options of other stages."""
    for name in unused:
        if getattr(args, name) != parser.get_default(name):
            raise UsageError(f"--{name.replace('_', '-')} is not for a LoRA, which learns from pictures: leave it out.")
    if args.export:
        raise UsageError("--export is for networks; a LoRA is written when its run ends.")
    if len(args.images) != 1:
        raise UsageError("Name one folder of pictures with --images; captions stand in .txt files beside them.")
    if args.output is None:
        raise UsageError("Name the file to write with --output my-lora.safetensors.")
    if not args.steps:
        raise UsageError("--steps 0 trains nothing: give the steps of the whole run.")


def _told(phase: str, done: int, total: int) -> None:
    if done == total:
        tell({"encode": f"{total} pictures encoded", "prior": f"{total} of the base's own made"}[phase])
