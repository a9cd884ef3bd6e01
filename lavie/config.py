"""Model families and the settings of their stages.

A family is a folder: the bundled `lavie-tiny` carries its settings in `family.json`; the released `lavie` has
them here, because its files come from several authors.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .errors import LavieError, UsageError
from .speed import EXACT, Speed, speed_of

STAGES = ("base", "interpolation", "upscaler")
OPTIONAL_STAGES = ("extension",)
BUNDLED = "lavie-tiny"
MAX_FRAMES = 10_000
LEAST_SEGMENT = 8  # frames of a long film that are worked on at once; see pipelines.streaming
MAX_SIDE = 8192
COLOR_CORRECTIONS = ("none", "wavelet")  # see pipelines.color_correction
RELEASED = "lavie"
SINGLE_FILES = ("sd-v1-*", "v1-5-pruned*")
_WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class StageConfig:
    """One stage: its files, relative to the family's folder, and the settings that the model was made for.

    num_frames, height, width: what the stage puts out (0: it follows its input). fps: frames per second of the
    output; for interpolation of a clip at 8 fps. prompt_suffix: added to every prompt. color_correction: of the
    upscaler's frames, see `pipelines.color_correction`. latent_rgb_factors: what a
    preview makes red, green and blue (−1…1) of scaled latents with, a row for each of the 4 channels and one to add;
    empty: the VAE is Stable Diffusion's. speed: what is left out of the work; no setting of a model.
    """

    unet: str
    vae: str
    text_encoder: str
    tokenizer: str
    num_frames: int = 0
    height: int = 0
    width: int = 0
    fps: float = 0
    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    scheduler: str = "ddim"
    spacing: str = "default"
    prediction_type: str = "epsilon"
    negative_prompt: str = ""
    prompt_suffix: str = ""
    noise_level: int = 0
    window: int = 0
    overlap: int = 0
    tile: int = 0
    tile_overlap: int = 0
    color_correction: str = "none"
    latent_rgb_factors: tuple[tuple[float, ...], ...] = ()
    speed: Speed = EXACT

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StageConfig:
        unknown = set(values) - {field.name for field in fields(cls) if field.name != "speed"}
        if unknown:
            raise LavieError(f"family.json has settings that LaVie does not know: {', '.join(sorted(unknown))}.")
        rows = tuple(tuple(float(factor) for factor in row) for row in values.get("latent_rgb_factors", ()))
        if rows and [len(row) for row in rows] != [3] * 5:
            raise LavieError("latent_rgb_factors in family.json are not 5 rows of 3 numbers.")
        return cls(**{**values, "latent_rgb_factors": rows})

    def replaced(self, **given: Any) -> StageConfig:
        """These settings with those replaced that are given and not None; an overlap shrinks with its window.

        Raises:
            UsageError: a guidance scale outside 0…100.
        """
        given = {name: value for name, value in given.items() if value is not None}
        for size, shared in (("window", "overlap"), ("tile", "tile_overlap")):
            if given.get(size) and shared not in given:
                given[shared] = min(getattr(self, shared), given[size] - 1)
        config = replace(self, **given)
        scale = config.guidance_scale
        if not math.isfinite(scale) or not 0 <= scale <= 100:
            raise UsageError(f"The guidance scale must be between 0 and 100, not {scale}.")
        return config

    def at_speed(self, stage: str, speed: str | Speed) -> StageConfig:
        """These settings, of the stage of that name, with what a speed changes; what is asked for goes on top.

        Raises:
            UsageError: there is no such speed.
        """
        speed = speed_of(stage, speed)
        steps, scheduler = max(1, round(speed.steps * self.num_inference_steps)), speed.scheduler or self.scheduler
        spacing = self.spacing if scheduler == self.scheduler else "default"  # not every scheduler has every spacing
        return replace(self, num_inference_steps=steps, scheduler=scheduler, spacing=spacing, speed=speed)


@dataclass(frozen=True)
class Family:
    """A name, a folder, and the stages in it; `elsewhere`: more folders where its files may lie.

    What an extension UNet is given besides noise, its input channels tell: see `pipelines.conditioned_extension`.
    """

    name: str
    folder: Path
    base: StageConfig
    interpolation: StageConfig
    upscaler: StageConfig
    extension: StageConfig | None = None
    elsewhere: tuple[Path, ...] = ()

    def stage(self, name: str) -> StageConfig:
        """The settings of the stage of that name.

        Raises:
            UsageError: this family has no such stage.
        """
        config = getattr(self, name) if name in (*STAGES, *OPTIONAL_STAGES) else None
        if config is None:
            raise UsageError(f"Model '{self.name}' has no {name} stage.")
        return config

    def path(self, file: str) -> Path:
        """Where a file of this family lies, or should; a released `.pt` may stand as a converted `.safetensors`."""
        for folder in (self.folder, *self.elsewhere):
            path = folder / file
            converted = path.with_suffix(".safetensors")
            if path.suffix == ".pt" and converted.exists():
                return converted
            if path.exists():
                return path
        return self.folder / file

    def single_file(self) -> Path | None:
        """A Stable Diffusion 1.x checkpoint in one file that may stand for the folders of its VAE and text encoder."""
        folders = (self.folder, *self.elsewhere)
        found = (path for folder in folders for pattern in SINGLE_FILES for path in sorted(folder.glob(pattern)))
        return next((path for path in found if path.suffix in (".safetensors", ".ckpt")), None)


_SD14 = "stable-diffusion-v1-4"
_X4 = "stable-diffusion-x4-upscaler"
_SD14_PARTS = {"vae": f"{_SD14}/vae", "text_encoder": f"{_SD14}/text_encoder", "tokenizer": f"{_SD14}/tokenizer"}

# Source: base/pipelines/sample.py and base/configs/sample.yaml, interpolation/sample.py, vsr/sample.py.
RELEASED_STAGES = {
    "base": StageConfig(
        unet="lavie_base.pt",
        **_SD14_PARTS,
        num_frames=16,
        height=320,
        width=512,
        fps=8,
        guidance_scale=7.5,
        scheduler="ddpm",
    ),
    "interpolation": StageConfig(
        unet="lavie_interpolation.pt",
        **_SD14_PARTS,
        fps=24,
        guidance_scale=4.0,
        spacing="linspace",
        negative_prompt="None",
        prompt_suffix=", 4k.",
        window=16,
        overlap=4,
    ),
    "upscaler": StageConfig(
        unet="lavie_vsr.pt",
        vae=f"{_X4}/vae",
        text_encoder=f"{_X4}/text_encoder",
        tokenizer=f"{_X4}/tokenizer",
        guidance_scale=5.0,
        prediction_type="v_prediction",
        negative_prompt="blur, worst quality",
        noise_level=50,
        window=8,
        overlap=2,
    ),
}


def find_family(name_or_path: str | Path, folders: Sequence[Path] = ()) -> Family:
    """The family of that name, or in that folder.

    `lavie-tiny` is bundled. `lavie` is looked for in `folders`, the first with released files before the others;
    without any, in the folder that the environment variable LAVIE_MODELS names, else in `models/lavie` under the
    current folder, else in `~/.cache/lavie`.

    Raises:
        UsageError: no such name or folder; the message says what to place where.
    """
    if str(name_or_path) == BUNDLED:
        return _read_family(_WEIGHTS / "tiny")
    if str(name_or_path) == RELEASED:
        folders = [Path(folder) for folder in folders] or [released_folder()]
        first = next((folder for folder in folders if _has_released(folder)), folders[0])
        others = tuple(folder for folder in folders if folder != first)
        return Family(RELEASED, first, **RELEASED_STAGES, elsewhere=others)
    folder = Path(name_or_path).expanduser()
    if (folder / "family.json").is_file():
        return _read_family(folder)
    if _has_released(folder):
        return Family(folder.name, folder, **RELEASED_STAGES)
    raise UsageError(
        f"Unknown model '{name_or_path}'. Choose '{BUNDLED}' (bundled), '{RELEASED}' (released weights), or a folder "
        "with family.json or the released files (lavie_base.pt, …)."
    )


def released_folder() -> Path:
    """The folder for the released weights; it need not exist yet."""
    chosen = os.environ.get("LAVIE_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    here = Path("models") / "lavie"
    return here if here.is_dir() else Path.home() / ".cache" / "lavie"


def _has_released(folder: Path) -> bool:
    return any(folder.glob("lavie_*.pt")) or any(folder.glob("lavie_*.safetensors"))


def _read_family(folder: Path) -> Family:
    try:
        values = json.loads((folder / "family.json").read_text(encoding="utf-8"))
        names = (*STAGES, *(stage for stage in OPTIONAL_STAGES if stage in values))
        stages = {stage: StageConfig.from_dict(values[stage]) for stage in names}
        return Family(values["name"], folder, **stages)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LavieError(f"{folder / 'family.json'} cannot be read as a LaVie model family: {error}.") from error
