"""Everything that a run's frames depend on, to decide whether a later run may resume from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...config import StageConfig
from ...speed import Speed, speed_of
from ..stage import Stage, StagePipeline
from .input_video import InputVideo
from .segments import Cut, stage_settings

if TYPE_CHECKING:
    from ...lora import Lora

_FILES = ("unet", "vae", "text_encoder", "tokenizer")
_NOT_OF_FRAMES = (*_FILES, "latent_rgb_factors")
_FORMAT = 1  # raise it whenever the same settings make other frames than before


def run_settings(pipeline: StagePipeline, cut: Cut, video: InputVideo, asked: dict[str, Any]) -> dict[str, Any]:
    """The settings as JSON values. asked: the pipeline's arguments."""
    stage = pipeline.stage
    config = stage_settings(stage.config, {name: value for name, value in asked.items() if name != "fps"})
    settings = {
        **{name: value for name, value in asdict(config).items() if name not in _NOT_OF_FRAMES},
        **{name: value for name, value in asked.items() if value is not None},
        "speed": asdict(speed_of(stage.name, asked.get("speed", "exact"))),
        "input": video.description(),
        "stage": stage.name,
        "model": {"name": stage.family.name, "files": _model_files(stage)},
        "float8": pipeline.float8,
        "loras": [{**lora.metadata(), "digest": _digest(lora)} for lora in pipeline.loras],
        "segment": cut.size,
        "segment_overlap": cut.overlap,
        "device": stage.device.type,
        "dtype": str(stage.dtype).removeprefix("torch."),
        "format": _FORMAT,
    }
    return json.loads(json.dumps(settings))


def upgraded(stored: dict[str, Any]) -> dict[str, Any]:
    """What an older version stored, in this version's form: settings that it did not know were at their defaults."""
    config = {each.name: each.default for each in fields(StageConfig) if each.name not in (*_NOT_OF_FRAMES, "speed")}
    kept = {name: value for name, value in stored.items() if name != "version"}
    return {**config, "format": 1, **kept, "speed": {**asdict(Speed()), **stored.get("speed", {})}}


def _model_files(stage: Stage) -> list[list[Any]]:
    """Name, size and modification time of every file of the stage's model."""
    paths = [stage.family.path(getattr(stage.config, part)) for part in _FILES]
    files = [file for path in paths for file in _files(path)]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path] * path.is_file()


def _digest(lora: Lora) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for layer, parts in sorted(lora.layers.items()):
        for part, tensor in sorted(parts.items()):
            digest.update(f"{layer}.{part}".encode())
            digest.update(tensor.float().cpu().numpy().tobytes())
    return digest.hexdigest()
