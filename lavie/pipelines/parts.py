"""A stage's VAE, text encoder and tokenizer: the family's own, or Stable Diffusion's that users have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..checkpoints import find_single_file, single_file_parts
from ..config import SD14, X4, Family, StageConfig
from ..errors import LavieError
from ..models.text_encoder import TextEncoder, load_text_encoder
from ..models.vae import load_vae

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

_KINDS = {SD14: "sd1-checkpoint", X4: "x4-checkpoint"}  # the single file that holds what a folder of the release holds
# One vocabulary, but Stable Diffusion 2 and the x4 upscaler fill up with another token.
_PADDING = {f"{SD14}/tokenizer": "<|endoftext|>", f"{X4}/tokenizer": "!"}


def load_vae_of(family: Family, config: StageConfig, **options: Any) -> AutoencoderKL:
    """The VAE of a stage; options: see `load_vae`.

    Raises:
        LavieError: it is missing or broken.
    """
    return load_vae(source_of(family, config.vae), **options)


def load_text_encoder_of(family: Family, config: StageConfig, **options: Any) -> TextEncoder:
    """The text encoder of a stage with its tokenizer; options: see `load_text_encoder`.

    Raises:
        LavieError: one of them is missing or broken.
    """
    tokenizer = _tokenizer(family, config)
    padding = None if tokenizer == family.path(config.tokenizer) else _PADDING[config.tokenizer]
    return load_text_encoder(source_of(family, config.text_encoder), tokenizer, padding=padding, **options)


def missing(family: Family, *files: str) -> Path | None:
    """The first of these parts of a stage (as `StageConfig` names them) that is nowhere; None if none is missing."""
    for file in files:
        path = _tokenizer_at(family, file) if file in _PADDING else family.path(file)
        if not path.exists() and stand_in(family, file) is None:
            return path
    return None


def require_files(family: Family, config: StageConfig) -> None:
    """Raise LavieError if a file of the stage is missing."""
    path = missing(family, config.unet, config.vae, config.text_encoder, config.tokenizer)
    if path is not None:
        tokenizer = " clip-tokenizer" if path == family.path(config.tokenizer) else ""
        raise LavieError(
            f"Model '{family.name}' lacks {path.relative_to(family.folder)} in {family.folder}. Run `python -m lavie "
            f"download{tokenizer}`, or place the file there."
        )


def stand_in(family: Family, file: str) -> Path | None:
    """The checkpoint in one file that is used for a VAE or text encoder that the family lacks; None if there is none,
    or no need of one."""
    folder, _, part = file.rpartition("/")
    if folder not in _KINDS or part not in ("vae", "text_encoder") or family.path(file).exists():
        return None
    kind = _KINDS[folder]
    own = find_single_file((family.folder, *family.elsewhere), kind)
    return own or find_single_file(family.checkpoints, kind, below=True)


def stand_ins(family: Family, stages: Iterable[str]) -> str:
    """Which files stand in for what these stages lack, in a sentence each; empty if there are none."""
    parts: dict[tuple[str, Path], set[str]] = {}
    for stage in stages:
        config = family.stage(stage)
        for file in (config.vae, config.text_encoder):
            path = stand_in(family, file)
            if path is not None:
                folder, _, part = file.rpartition("/")
                parts.setdefault((folder, path), set()).add(part.replace("_", " "))
    return " ".join(
        f"There is no {folder}: {path.name} gives the {' and the '.join(sorted(names))} in its place."
        for (folder, path), names in parts.items()
    )


def source_of(family: Family, file: str) -> Path | dict[str, Tensor]:
    """The folder of a VAE or text encoder, else that part of a checkpoint in one file."""
    single = stand_in(family, file)
    return family.path(file) if single is None else getattr(single_file_parts(single), file.rpartition("/")[2])


def _tokenizer(family: Family, config: StageConfig) -> Path:
    return _tokenizer_at(family, config.tokenizer) if config.tokenizer in _PADDING else family.path(config.tokenizer)


def _tokenizer_at(family: Family, file: str) -> Path:
    """The folder of a released tokenizer, else another with the same vocabulary, else where it should be."""
    own = family.path(file)
    others = [*map(family.path, _PADDING), *([family.clip_tokenizer] if family.clip_tokenizer else ())]
    return next((path for path in (own, *others) if path.exists()), own)
