"""What training starts from, and the family folder that it writes into."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..atomic import written_whole
from ..checkpoints import load_unet
from ..config import BUNDLED, RELEASED, Family, find_family
from ..errors import UsageError
from ..models import VideoUNet
from ..models.text_encoder import TextEncoder
from ..pipelines import parts
from .family_file import PARTS, write_family
from .inflate import (
    EXTENSIONS,
    base_from_image,
    extension_from_base,
    interpolation_from_base,
    turn_velocity,
    upscaler_from_image,
)
from .registry import fresh_networks

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

SCRATCH = "scratch"


@dataclass(frozen=True)
class Start:
    """The network before its first step, float32; origin: where it comes from, in words; fresh: it is untrained."""

    unet: VideoUNet
    origin: str
    fresh: bool = False


def open_family(folder: Path, stage: str, init: str | None) -> Family:
    """The family in `folder`; a new one gets LaVie's settings and, from `init`, the parts that the stage needs.

    Raises:
        UsageError: nothing there and nothing to make it of, or the folder holds the authors' own files.
    """
    if not (folder / "family.json").is_file():
        if any(folder.glob("lavie_*")):
            raise UsageError(f"{folder} holds released weights, which training leaves alone: name a new folder.")
        if init in (None, SCRATCH):
            raise UsageError(
                f"There is no family.json in {folder}. Name a family's folder, or say with --init what to make a new "
                "family of: a Stable Diffusion 1.x folder, or another family."
            )
        write_family(folder, _family_of(init))
    family = _with_extension(find_family(folder))
    if init not in (None, SCRATCH):
        _fill_in(family, stage, init)
    return family


def load_start(family: Family, stage: str, init: str | None, conditioning: str, seed: int) -> Start:
    """What the stage's training starts from.

    Raises:
        LavieError, UsageError: there is nothing to start from, or it does not fit.
    """
    if init == SCRATCH:
        return _fresh(stage, seed)
    known = family
    if init is not None:
        known = _family_of(init)
        if known is None:
            return _inflated(stage, Path(init).expanduser(), seed)
    file = _unet_file(known, stage)
    if file is not None:
        unet = load_unet(file, stage=stage, dtype=torch.float32)
        start = Start(unet, f"the {stage} network in {known.folder}")
    else:
        start = _from_base(known, stage, conditioning, init, seed)
    if stage == "extension" and start.unet.config.in_channels != EXTENSIONS[conditioning]:
        raise UsageError(
            f"The extension in {known.folder} is not of --conditioning {conditioning}; remove it to begin anew."
        )
    return start


def load_vae_of(family: Family, stage: str) -> AutoencoderKL:
    return parts.load_vae_of(family, family.stage(stage), dtype=torch.float32).requires_grad_(False)


def load_text_of(family: Family, stage: str, init: str | None, learns: bool) -> tuple[TextEncoder, bool]:
    """The stage's text encoder, float32, and whether the family does not have it yet.

    If the base network comes from another family, so does its text encoder. A base trained from scratch with its text
    encoder starts with a fresh one.
    """
    known = None if init in (None, SCRATCH) else _family_of(init)
    source = known if stage == "base" and known is not None else family
    config = source.stage(stage)
    absent = parts.missing(source, config.text_encoder)
    if absent is None and not (learns and init == SCRATCH):
        encoder = parts.load_text_encoder_of(source, config, dtype=torch.float32)
        return encoder, source.folder != family.folder
    if not learns:
        raise UsageError(
            f"There is no text encoder in {absent}. Let it learn with the base (--train-text), or place one there."
        )
    return fresh_networks().text_encoder(family.folder), True


def autoencoder_of(init: str, part: str) -> Path:
    """The folder of another family's autoencoder."""
    family = find_family(init)
    path = family.path(family.upscaler.vae if part == "upscaler_vae" else family.base.vae)
    if not path.exists():
        raise UsageError(f"There is no autoencoder in {path} to start from.")
    return path


def _fresh(stage: str, seed: int) -> Start:
    if stage == "extension":
        raise UsageError("The extension starts from a base network: name one with --init.")
    torch.manual_seed(seed)
    return Start(fresh_networks().unet(stage), f"fresh weights, seed {seed}", fresh=True)


def _from_base(family: Family, stage: str, conditioning: str, init: str | None, seed: int) -> Start:
    """The stage's network, made from the family's base network; a first base or upscaler starts fresh."""
    file = _unet_file(family, "base")
    if stage in ("interpolation", "extension") and file is not None:
        base = load_unet(file, stage="base", dtype=torch.float32)
        is_extension = stage == "extension"
        unet = extension_from_base(base, conditioning) if is_extension else interpolation_from_base(base)
        shown = conditioning if is_extension else "key frames"
        if (family.base.prediction_type, family.stage(stage).prediction_type) == ("v_prediction", "sample"):
            turn_velocity(unet)
        return Start(unet, f"the base network in {family.folder}, widened for {shown}")
    if stage in ("base", "upscaler") and init is None:
        return _fresh(stage, seed)
    needed = f"{stage} network" if stage in ("base", "upscaler") else f"{stage} or base network"
    raise UsageError(f"{family.folder} has no {needed} to start from: train the base first, or name one with --init.")


def _inflated(stage: str, path: Path, seed: int) -> Start:
    if not path.exists():
        raise UsageError(f"There is no {path} to start from (--init): neither a family, a file nor a folder.")
    if stage == "base":
        return Start(base_from_image(path, seed=seed), f"the image model {path}, with new layers along the frames")
    if stage == "upscaler":
        unet = upscaler_from_image(path, seed=seed)
        return Start(unet, f"the image upscaler {path}, with new layers along the frames")
    raise UsageError(f"The {stage} stage starts from a LaVie family, not from {path}: train the base first.")


def _family_of(init: str) -> Family | None:
    """The family that --init names, or None if it names something else."""
    folder = Path(init).expanduser()
    named = init in (BUNDLED, RELEASED) or (folder / "family.json").is_file()
    if named or (folder.is_dir() and any(folder.glob("lavie_*"))):
        return find_family(init)
    return None


def _unet_file(family: Family, stage: str) -> Path | None:
    config = getattr(family, stage)
    path = None if config is None else family.path(config.unet)
    return path if path is not None and path.exists() else None


def _with_extension(family: Family) -> Family:
    """The family with settings for an extension stage: the base's own, unless it has some."""
    if family.extension is not None:
        return family
    return replace(family, extension=replace(family.base, unet="extension"))


def _fill_in(family: Family, stage: str, init: str) -> None:
    """Copies the VAEs, the text encoder and the tokenizer that the family lacks from what --init names."""
    other, folder = _family_of(init), Path(init).expanduser()
    for name in dict.fromkeys((stage, "base") if stage == "upscaler" and other else (stage,)):
        for part in PARTS:
            target = family.folder / getattr(family.stage(name), part)
            origin = folder / part if other is None else _path_of(other, name, part)
            if origin is not None and origin.is_dir() and not target.exists():
                with written_whole(target) as partial:
                    shutil.copytree(origin, partial)


def _path_of(family: Family, stage: str, part: str) -> Path | None:
    config = getattr(family, stage) or family.base
    return family.path(getattr(config, part))
