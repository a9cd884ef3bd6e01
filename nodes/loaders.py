"""LaVie Loader: a stage of a model family, or a file, as MODEL, CLIP and VAE. LaVie Cascade Loader: all stages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from ..lavie.checkpoints import describe, load_unet
from ..lavie.checkpoints.stored import FAMILY_KEY
from ..lavie.config import BUNDLED, OWN, RELEASED, RELEASED_STAGES, Family, StageConfig, find_family
from ..lavie.errors import LavieError, UsageError
from ..lavie.pipelines.parts import load_text_encoder_of, load_vae_of, missing, stand_ins
from ..lavie.runtime.device import DTYPES
from ..lavie.stages import CASCADE, STAGES
from . import host
from .adapters import StageInfo
from .node import Node
from .vae import GraphVAE
from .widgets import choice
from .wired import refuse_unused

log = logging.getLogger(__name__)

AUTO = "auto"
FIRST = next(iter(STAGES))
SCALING_FACTORS = {8: 0.18215, 4: 0.08333}  # by pixels per latent pixel, if the VAE itself is missing
LOADING = 4  # steps of the progress while a stage loads
DTYPE = choice(
    [OWN, *DTYPES],
    OWN,
    "Precision of the video model. default: what ComfyUI chooses for your card and command-line flags.",
    advanced=True,
)


class ModelNode(Node):
    """A node whose input `model` is one of `model_names`."""

    @classmethod
    def IS_CHANGED(cls, model: str, **_: Any) -> str:  # noqa: N802 (ComfyUI's name)
        """Reload a file that was replaced on disk."""
        return state_of(model)


class LaVieLoader(ModelNode):
    """Loads one stage of LaVie: of the small bundled family (lavie-tiny), of the released weights (lavie), or any LaVie
    checkpoint in models/lavie, models/diffusion_models or models/diffusers. The MODEL works with LaVie's nodes and with
    the core KSampler."""

    title = "LaVie Loader"
    SEARCH_ALIASES: ClassVar = ["lavie checkpoint", "load video model", "load lavie"]
    inputs: ClassVar = {
        "model": lambda: choice(
            model_names(),
            BUNDLED,
            "lavie-tiny comes with this pack. lavie stands for the authors' weights in models/lavie (see the help "
            "page). The others are files of yours; LaVie reads the stage from the file.",
        ),
        "stage": choice(
            [AUTO, *STAGES],
            AUTO,
            "base: clips from text. interpolation: four times as many frames. upscaler: four times as wide and high. "
            "extension: continues from a frame. auto: base, or what the file holds.",
        ),
        "dtype": DTYPE,
    }
    outputs: ClassVar = {
        "model": (
            "MODEL",
            "The video model, for the node of its stage; a base MODEL also for the core KSampler and LoRA loaders.",
        ),
        "clip": ("CLIP", "The text encoder of this stage, for LaVie Text Encode or CLIP Text Encode."),
        "vae": ("VAE", "The VAE of this stage. It encodes and decodes whole videos."),
    }

    def run(self, model: str, stage: str, dtype: str) -> tuple[Any, Any, Any]:
        family, stage = resolve(model, stage)
        say_stand_ins(family, [stage])
        return load_stage(family, stage, dtype, host.Progress())


class LaVieCascadeLoader(ModelNode):
    """Loads the three stages of LaVie at once, for a whole cascade with one dropdown: base, interpolation and upscaler,
    each with the text encoder and the VAE that belong to it."""

    title = "LaVie Cascade Loader"
    SEARCH_ALIASES: ClassVar = ["load cascade", "load all stages"]
    inputs: ClassVar = {
        "model": lambda: choice(
            model_names(),
            BUNDLED,
            "lavie-tiny comes with this pack. lavie stands for the authors' weights in models/lavie. A file of yours "
            "takes the place of its stage among these.",
        ),
        "dtype": DTYPE,
    }
    outputs: ClassVar = {
        f"{stage}_{part}": (part.upper(), f"The {stage} stage's {what}.")
        for stage in CASCADE
        for part, what in (
            ("model", f"video model, for {STAGES[stage].node}"),
            ("clip", "text encoder, for a LaVie Text Encode of its own"),
            ("vae", "VAE, for the same node" if stage != FIRST else "VAE, for LaVie VAE Decode"),
        )
    }

    def run(self, model: str, dtype: str) -> tuple[Any, ...]:
        family, progress = cascade_of(model), host.Progress()
        for stage in CASCADE:
            _require_unet(family.path(family.stage(stage).unet))
        say_stand_ins(family, CASCADE)
        return tuple(
            part
            for number, stage in enumerate(CASCADE)
            for part in load_stage(family, stage, dtype, progress, number, len(CASCADE))
        )


def state_of(model: str) -> str:
    """Differs when the choice of a model differs, or when its file was replaced on disk."""
    key, _slash, name = model.partition("/")
    if not name:
        return model
    path = host.find_file(key, name)
    return f"{path}:{path.stat().st_mtime_ns}"


def load_stage(
    family: Family, stage: str, dtype: str, progress: host.Progress, number: int = 0, stages: int = 1
) -> tuple[Any, Any, Any]:
    """MODEL, CLIP and VAE of a stage; the latter two are None where their files are missing.

    Args:
        number, stages: the progress is that of the stage with this number (from 0) of so many.

    Raises:
        LavieError: the video model's file is missing or damaged.
    """
    config = family.stage(stage)
    _require_unet(family.path(config.unet))

    def report(part: int) -> None:
        progress.step("load", number * LOADING + part, stages * LOADING)

    report(1)
    vae = _part("vae", load_vae_of, family, config, config.vae, dtype=host.vae_dtype())
    factor = SCALING_FACTORS[STAGES[stage].vae_factor] if vae is None else vae.config["scaling_factor"]
    info = StageInfo(family.name, stage, config, factor)
    report(2)
    needed = config.text_encoder, config.tokenizer
    text = _part("text_encoder", load_text_encoder_of, family, config, *needed, dtype=host.text_dtype())
    report(3)
    model = _load_model(family, stage, dtype, info)
    host.remember_how_to_load(model, _load_model, family, stage, dtype, info)
    report(LOADING)
    return (
        model,
        None if text is None else host.make_clip(text, info),
        None if vae is None else GraphVAE(vae, info),
    )


def _load_model(family: Family, stage: str, dtype: str, info: StageInfo) -> Any:
    """The MODEL of a stage."""
    unet = load_unet(family.path(family.stage(stage).unet), stage=stage)
    parameters = sum(p.numel() for p in unet.parameters())
    unet = unet.to(host.unet_dtype(parameters) if dtype == OWN else DTYPES[dtype])
    return host.make_model(unet, info, refuse_unused)


def model_names() -> list[str]:
    """The loader's choices: families by name, files and folders as "folder key/name"."""
    found = [f"{key}/{name}" for key in host.UNET_FOLDERS for name in host.files(key)]
    return [BUNDLED, RELEASED, *found]


def resolve(model: str, stage: str) -> tuple[Family, str]:
    """The family and stage of a choice; a file replaces its stage of the released family.

    Raises:
        LavieError: no such file, not a LaVie checkpoint, or not the chosen stage.
    """
    key, _, name = model.partition("/")
    released = find_family(RELEASED, folders=host.released_folders())
    released = replace(released, checkpoints=host.checkpoint_folders(), clip_tokenizer=host.clip_tokenizer())
    if not name:
        family = find_family(BUNDLED) if model == BUNDLED else released if model == RELEASED else None
        if family is None:
            raise UsageError(f"There is no model '{model}'. Choose one from the list.")
        return family, FIRST if stage == AUTO else stage
    path = host.find_file(key, name)
    if (path / "family.json").is_file():
        return find_family(path), FIRST if stage == AUTO else stage
    found = describe(path)
    if found.get("stage") not in STAGES:
        raise LavieError(f"{name} seems to be {found['title']}. LaVie Loader needs a UNet of one of LaVie's stages.")
    if stage not in (AUTO, found["stage"]):
        raise UsageError(f"{name} holds LaVie's {found['stage']} stage, not {stage}. Set stage to auto.")
    stage = found["stage"]
    if found["metadata"].get(FAMILY_KEY) == BUNDLED:  # kept by Save Model
        family = find_family(BUNDLED)  # it keeps its name, so that a merge of merges does, too
        return replace(family, **{stage: replace(family.stage(stage), unet=str(path.resolve()))}), stage
    config = RELEASED_STAGES.get(stage, RELEASED_STAGES["base"])  # an extension stage makes clips like the base's
    return replace(released, name=path.stem, **{stage: replace(config, unet=str(path.resolve()))}), stage


def cascade_of(model: str) -> Family:
    """The family of a choice, for all stages of the cascade.

    Raises:
        LavieError: as `resolve`, or a file of another stage.
    """
    family, stage = resolve(model, AUTO)
    if stage not in CASCADE:
        raise UsageError(
            f"{model} holds LaVie's {stage} stage, which is none of {', '.join(CASCADE)}. Load it with LaVie Loader, "
            "or choose another model."
        )
    return family


def say_stand_ins(family: Family, stages: Sequence[str]) -> None:
    """Show on the node which of the user's checkpoints give a VAE or text encoder that these stages lack."""
    sentence = stand_ins(family, stages)
    if sentence:
        host.note(sentence, logging.INFO)


def _part(part: str, load: Any, family: Family, config: StageConfig, *files: str, **settings: Any) -> Any:
    """The VAE or text encoder of a stage; None, with a warning in the log, if one of its files is missing: another
    loader's can be connected instead."""
    absent = missing(family, *files)
    if absent is None or family.name == BUNDLED:
        return load(family, config, **settings)
    log.warning("LaVie Loader: there is no %s. Put it there, or connect the %s of another loader.", absent, part)
    return None


def _require_unet(path: Path) -> None:
    if not path.exists():
        raise LavieError(
            f"The released weights are not here: there is no {path.name} in {path.parent}. Download it (see the help "
            "page of LaVie Loader), or choose lavie-tiny."
        )
