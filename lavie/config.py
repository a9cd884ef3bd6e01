"""Model families and the settings of their stages.

A family is a folder: the bundled `lavie-tiny` carries its settings in `family.json`; the released `lavie` has
them here, because its files come from several authors.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .bounded import MAX_FPS, either, read_json, real, require_fields, several, whole, word
from .errors import LavieError, UsageError
from .knobs import check_knobs, described, knob, knobs_of
from .schedulers import SCHEDULERS, SPACINGS
from .speed import EXACT, SPEEDS, Speed, speed_of
from .stages import STAGES

BUNDLED = "lavie-tiny"
RELEASED = "lavie"
MAX_FRAMES = 10_000
MIN_SEGMENT = 8  # frames per segment of a long video, at least; see pipelines.streaming
MAX_SIDE = 8192
MAX_NOISE_LEVEL = 350
TRAINED_FRAMES = 16  # that LaVie's base was trained on
COLOR_CORRECTIONS = ("none", "wavelet")  # see pipelines.color_correction
CHUNKS = ("blended", "official")
MATCHED, STRETCH = "matched", "stretch"
CONTROL_TIMESTEPS = (MATCHED, "same")  # see sampling.control
OWN = "default"  # stands for the model's own setting
_WEIGHTS = Path(__file__).parent / "weights"


_RULES = {"int": whole(-1, 1 << 40), "float": real(-1, 1e9), "str": word()}  # by type
_NARROWER = {
    "fps": real(0, MAX_FPS),
    "prediction_type": word("epsilon", "v_prediction", "sample"),
    "latent_rgb_factors": either(several(several(real(-1e9, 1e9), 3), 5), lambda rows: rows in ([], ())),
}
_NEEDED = ("unet", "vae", "text_encoder", "tokenizer")


@dataclass(frozen=True)
class StageConfig:
    """One stage: its files, relative to the family's folder, and its settings, by default the model's own.

    Fields that users may set are knobs. num_frames, height, width: of the output (0: as the input). fps: frames per
    second of the output; for interpolation, given an input at 8 fps. prompt_suffix: added to every prompt.
    latent_rgb_factors: turn scaled latents into red, green and blue (−1…1) for previews, one row per channel and one to
    add; empty: the VAE is Stable Diffusion's.
    """

    unet: str
    vae: str
    text_encoder: str
    tokenizer: str
    num_frames: int = knob(0, "How many frames to make.", (1, MAX_FRAMES), stages=("base",), off=0, flag="frames")
    height: int = knob(
        0, "Height in pixels, divisible by 8.", (8, MAX_SIDE), stages=("base",), off=0, step=8, front_ends=("widget",)
    )
    width: int = knob(
        0, "Width in pixels, divisible by 8.", (8, MAX_SIDE), stages=("base",), off=0, step=8, front_ends=("widget",)
    )
    fps: float = 0
    num_inference_steps: int = knob(
        50, "Denoising steps. More take longer and give finer results.", (1, 1000), off=-1, flag="steps", widget="steps"
    )
    guidance_scale: float = knob(
        7.5,
        "How closely the video follows the prompt. 1 ignores the negative prompt and is faster.",
        (0, 100),
        off=-1.0,
        step=0.1,
    )
    guidance_rescale: float = knob(
        0.0,
        "Above 0, softens the harsh colours and contrast of strong guidance. 0.7 is usual.",
        (0, 1),
        off=-1.0,
        step=0.05,
        advanced=True,
    )
    scheduler: str = knob(
        "ddim",
        "The sampler: the solver that takes the steps.",
        choices=tuple(SCHEDULERS),
        off=OWN,
        widget="sampler",
        advanced=True,
    )
    spacing: str = knob(
        OWN, "How the steps are spread over the noise levels.", choices=SPACINGS, off=OWN, advanced=True
    )
    prediction_type: str = "epsilon"
    negative_prompt: str = knob("", "What the video should not show.", front_ends=("flag",))
    prompt_suffix: str = ""
    noise_level: int = knob(
        0,
        "Noise added to the input. More lets the model invent more detail.",
        (0, MAX_NOISE_LEVEL),
        stages=("upscaler",),
        off=-1,
    )
    window: int = knob(
        0,
        "Input frames processed at once. Fewer need less memory. 0: all.",
        (0, MAX_FRAMES),
        stages=("interpolation", "upscaler"),
        off=-1,
    )
    overlap: int = knob(
        0,
        "Input frames that neighbouring windows share and blend.",
        (0, MAX_FRAMES),
        stages=("interpolation", "upscaler"),
        off=-1,
        advanced=True,
    )
    tile: int = knob(
        0,
        "Edge of the tiles in input pixels. Smaller ones need less memory. 0: no tiles.",
        (0, MAX_SIDE),
        stages=("upscaler",),
        off=-1,
        step=8,
    )
    tile_overlap: int = knob(
        0,
        "Input pixels that neighbouring tiles share and blend.",
        (0, MAX_SIDE),
        stages=("upscaler",),
        off=-1,
        step=8,
        advanced=True,
    )
    chunks: str = knob(
        "blended",
        "blended: windows without seams. official: the authors' separate chunks of 8 frames, with seams between them.",
        choices=CHUNKS,
        stages=("upscaler",),
        off=OWN,
        advanced=True,
    )
    color_correction: str = knob(
        "none",
        "wavelet: keeps the colours of the input.",
        choices=COLOR_CORRECTIONS,
        stages=("upscaler",),
        off=OWN,
        advanced=True,
    )
    control_timestep: str = knob(
        MATCHED,
        "The timestep that a ControlNet is told. matched: that at which Stable Diffusion has as much noise. same: "
        "LaVie's own.",
        choices=CONTROL_TIMESTEPS,
        stages=("base", "extension"),
        off=MATCHED,
        advanced=True,
    )
    control_frames: str = knob(
        "refuse",
        "If a control video has another number of frames than the video: refuse it, or stretch it to that number. One "
        "image always holds for all frames.",
        choices=("refuse", STRETCH),
        stages=("base", "extension"),
        off="refuse",
        advanced=True,
    )
    latent_rgb_factors: tuple[tuple[float, ...], ...] = ()
    speed: Speed = knob(
        EXACT,
        "How much quality to trade for time. balanced and fast are quicker; steps and sampler that you set override "
        "theirs. exact skips nothing.",
        choices=tuple(SPEEDS),
        off="exact",
    )

    @property
    def clip_frames(self) -> int:
        """The length of a clip: how many frames the model makes at once."""
        return self.num_frames or TRAINED_FRAMES

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StageConfig:
        unknown = set(values) - {field.name for field in fields(cls) if field.name != "speed"}
        if unknown:
            raise LavieError(f"family.json has settings that LaVie does not know: {', '.join(sorted(unknown))}.")
        kinds = {field.name: _RULES[str(field.type)] for field in fields(cls) if str(field.type) in _RULES}
        require_fields(values, kinds | _NARROWER, "family.json")
        missing = [name for name in _NEEDED if name not in values]
        if missing:
            raise LavieError(f"family.json does not say where a stage has its {missing[0]}.")
        rows = tuple(tuple(float(factor) for factor in row) for row in values.get("latent_rgb_factors", ()))
        if rows and [len(row) for row in rows] != [3] * 5:
            raise LavieError("latent_rgb_factors in family.json are not 5 rows of 3 numbers.")
        config = cls(**{**values, "latent_rgb_factors": rows})
        check_knobs(config)
        return config

    def configured(self, stage: str, **given: Any) -> StageConfig:
        """The settings of that stage, replaced by those given and not None; `speed` is applied first.

        An overlap shrinks with its window.

        Raises:
            UsageError: a setting that the stage does not have, or a value outside its range.
        """
        known = knobs_of(StageConfig, stage)
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise UsageError(f"The {stage} stage has no setting {', '.join(unknown)}. It has: {', '.join(known)}.")
        given = {name: value for name, value in given.items() if value is not None}
        return self.at_speed(stage, given.pop("speed", EXACT)).replaced(**given)

    def described(self, stage: str) -> dict[str, Any]:
        """Every setting of the stage that shapes the frames, for the video's metadata."""
        return described(self, stage)

    def replaced(self, **given: Any) -> StageConfig:
        """These settings, replaced by those given and not None; an overlap shrinks with its window.

        Raises:
            UsageError: a value outside its range.
        """
        given = {name: value for name, value in given.items() if value is not None}
        for size, shared in (("window", "overlap"), ("tile", "tile_overlap")):
            if given.get(size) and shared not in given:
                given[shared] = min(getattr(self, shared), given[size] - 1)
        config = replace(self, **given)
        check_knobs(config)
        return config

    def at_speed(self, stage: str, speed: str | Speed) -> StageConfig:
        """These settings of the named stage, changed by a speed preset; explicit settings are applied on top.

        Raises:
            UsageError: there is no such speed.
        """
        speed = speed_of(stage, speed)
        steps, scheduler = max(1, round(speed.steps * self.num_inference_steps)), speed.scheduler or self.scheduler
        spacing = self.spacing if scheduler == self.scheduler else OWN  # not every scheduler has every spacing
        return replace(self, num_inference_steps=steps, scheduler=scheduler, spacing=spacing, speed=speed)


@dataclass(frozen=True)
class Family:
    """A name, a folder, and the stages in it.

    elsewhere: more folders to look for its files. checkpoints: folders in which, or below which, Stable Diffusion in
    one file may stand in for its parts (see `pipelines.parts`). clip_tokenizer: a folder with CLIP's tokenizer, for
    when the family's own is missing.

    The input channels of an extension UNet show what it sees besides noise: see `long_video.conditioned`.
    """

    name: str
    folder: Path
    base: StageConfig
    interpolation: StageConfig
    upscaler: StageConfig
    extension: StageConfig | None = None
    elsewhere: tuple[Path, ...] = ()
    checkpoints: tuple[Path, ...] = ()
    clip_tokenizer: Path | None = None

    def stage(self, name: str) -> StageConfig:
        """The settings of the stage of that name.

        Raises:
            UsageError: this family has no such stage.
        """
        config = getattr(self, name) if name in STAGES else None
        if config is None:
            raise UsageError(f"Model '{self.name}' has no {name} stage.")
        return config

    def path(self, file: str) -> Path:
        """Where a file of this family is or should be; a converted `.safetensors` may replace a released `.pt`."""
        for folder in (self.folder, *self.elsewhere):
            path = folder / file
            converted = path.with_suffix(".safetensors")
            if path.suffix == ".pt" and converted.exists():
                return converted
            if path.exists():
                return path
        return self.folder / file


SD14 = "stable-diffusion-v1-4"
X4 = "stable-diffusion-x4-upscaler"
_SD14_PARTS: dict[str, Any] = {
    "vae": f"{SD14}/vae",
    "text_encoder": f"{SD14}/text_encoder",
    "tokenizer": f"{SD14}/tokenizer",
}

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
        vae=f"{X4}/vae",
        text_encoder=f"{X4}/text_encoder",
        tokenizer=f"{X4}/tokenizer",
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

    `lavie-tiny` is bundled. `lavie` is looked up in `folders`, the first with released files before the others. Without
    `folders` it is looked up in the folder that the environment variable LAVIE_MODELS names, else in `models/lavie`
    under the current folder, else in `~/.cache/lavie`.

    In place of parts of Stable Diffusion that a released family lacks, checkpoints in its folder serve, and those in
    and below the folder `checkpoints` beside it.

    Raises:
        UsageError: no such name or folder; the message says what to place where.
    """
    if str(name_or_path) == BUNDLED:
        return _read_family(_WEIGHTS / "tiny")
    if str(name_or_path) == RELEASED:
        folders = [Path(folder) for folder in folders] or [released_folder()]
        first = next((folder for folder in folders if _has_released(folder)), folders[0])
        others = tuple(folder for folder in folders if folder != first)
        return Family(
            RELEASED, first, **RELEASED_STAGES, elsewhere=others, checkpoints=_beside(first), clip_tokenizer=None
        )
    folder = Path(name_or_path).expanduser()
    if (folder / "family.json").is_file():
        return _read_family(folder)
    if _has_released(folder):
        return Family(
            folder.name, folder, **RELEASED_STAGES, elsewhere=(), checkpoints=_beside(folder), clip_tokenizer=None
        )
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


def _beside(folder: Path) -> tuple[Path, ...]:
    """models/checkpoints of models/lavie."""
    return (folder.absolute().parent / "checkpoints",)


def _has_released(folder: Path) -> bool:
    return any(folder.glob("lavie_*.pt")) or any(folder.glob("lavie_*.safetensors"))


def _read_family(folder: Path) -> Family:
    try:
        values = read_json(folder / "family.json")
        require_fields(values, {"name": word()}, "family.json")
        names = [name for name, spec in STAGES.items() if name in values or not spec.optional]
        stages = {stage: StageConfig.from_dict(values[stage]) for stage in names}
        return Family(values["name"], folder, **stages, elsewhere=(), checkpoints=(), clip_tokenizer=None)
    except (LavieError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LavieError(f"{folder / 'family.json'} cannot be read as a LaVie model family: {error}.") from error
