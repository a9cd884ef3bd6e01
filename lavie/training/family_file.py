"""Writes family.json for a new family, and adds stages that a family did not have."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

from ..atomic import held, written_whole
from ..bounded import read_json
from ..config import RELEASED_STAGES, Family, StageConfig
from ..stages import STAGES

PARTS = ("vae", "text_encoder", "tokenizer")


def write_family(folder: Path, like: Family | None) -> None:
    """A new family.json with the settings of another family, or of the released one, and plain names of folders."""
    stages = RELEASED_STAGES if like is None else {name: getattr(like, name) for name in STAGES}
    values = {"name": folder.resolve().name}
    values |= {name: _values(_renamed(name, config)) for name, config in stages.items() if config is not None}
    _write(folder, values)


def add_stage(folder: Path, name: str, config: StageConfig) -> None:
    """Add a stage to family.json, unless it has one of that name."""
    file = folder / "family.json"
    with held(file):
        values = read_json(file)
        if name not in values:
            _write(folder, {**values, name: _values(config)})


def _renamed(stage: str, config: StageConfig) -> StageConfig:
    prefix = "upscaler_" if stage == "upscaler" else ""
    return replace(config, unet=stage, **{part: prefix + part for part in PARTS})


def _values(config: StageConfig) -> dict:
    """A stage's settings as family.json has them: those that are not the default."""
    given = {field.name: getattr(config, field.name) for field in fields(StageConfig)}
    defaults = {field.name: field.default for field in fields(StageConfig)}
    return {name: value for name, value in asdict(config).items() if given[name] != defaults[name]}


def _write(folder: Path, values: dict) -> None:
    with written_whole(folder / "family.json") as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
