"""All three stages one after the other: from a prompt to a smooth, large video."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..config import BUNDLED, Family, StageConfig, find_family
from ..job import Callback
from ..knobs import documented
from ..renamed import old_attribute
from ..runtime import choose_device, choose_dtype
from ..runtime.budget import fitted, require_host_memory
from ..speed import Speed
from ..stages import CASCADE, STAGES, StageSpec
from .forecast import workload_ahead
from .interpolate import InterpolationPipeline
from .output import VideoOutput
from .parts import require_files
from .text_to_video import TextToVideoPipeline
from .upscale import UpscalePipeline

if TYPE_CHECKING:
    from ..control import Control
    from ..lora import Lora


log = logging.getLogger(__name__)

_NO_SETTINGS = {"video", "fps", "strength", "seed"}  # what the base takes beside its settings
OFFICIAL_FPS = 8  # of the base, for which an interpolation stage names its own rate


@dataclass
class CascadePipeline:
    """Base, temporal interpolation and super-resolution; one stage is in memory at a time.

    memory, notify: see `StagePipeline`.
    """

    tell = old_attribute("tell", "notify")

    family: Family
    device: torch.device
    dtype: torch.dtype
    memory: int | None = None
    notify: Callable[[str], None] = log.info
    loras: tuple[Lora, ...] = ()
    controls: tuple[Control, ...] = ()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str = BUNDLED,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        memory: int | None = None,
    ) -> CascadePipeline:
        """Choose a family by name ("lavie-tiny", "lavie") or folder. Each stage loads when it is needed."""
        chosen = choose_device(device)
        return cls(find_family(name_or_path), chosen, choose_dtype(dtype, chosen), memory)

    def set_loras(self, loras: Sequence[Lora]) -> None:
        """Apply exactly these LoRAs to the base and the interpolation stage whenever they load."""
        self.loras = tuple(loras)

    def set_controls(self, controls: Sequence[Control]) -> None:
        """Let the base follow exactly these whenever it loads."""
        self.controls = tuple(controls)

    @documented(StageConfig, "base")
    def __call__(
        self,
        prompt: str,
        seed: int = 0,
        interpolate: bool = True,
        upscale: bool = True,
        speed: str | Speed = "exact",
        callback: Callback | None = None,
        **settings: Any,
    ) -> VideoOutput:
        """Generate a video, or repaint the one given (`video`, `fps`, `strength`): see `TextToVideoPipeline.generate`.

        A generated video gets LaVie's own frame rates (8, then 24); a repainted one lasts as long as the given one.

        Args:
            speed: for all stages: a preset, or settings that apply to every stage.
            settings: of the base stage; the later stages keep their own.
        """
        wanted = {"base": True, "interpolation": interpolate, "upscaler": upscale}
        for stage in (name for name, is_wanted in wanted.items() if is_wanted):
            require_files(self.family, self.family.stage(stage))
        self._require_memory(interpolate, upscale, speed=speed, **settings)
        shared = {"seed": seed, "speed": speed, "callback": callback}
        made = self._load(TextToVideoPipeline)(prompt, **shared, **settings)
        metadata = {**made.metadata, "stages": {}}
        for pipeline in (InterpolationPipeline, UpscalePipeline):
            name = pipeline.stage_name
            rate = {}
            if name == "interpolation" and settings.get("video") is None:
                rate = {"output_fps": made.fps * self.family.stage(name).fps / OFFICIAL_FPS}
            if wanted[name] and len(made.frames) >= STAGES[name].min_frames:
                made = self._load(pipeline)(made.frames, prompt, made.fps, **rate, **shared)
                metadata["stages"][name] = made.metadata
        return VideoOutput(made.frames, made.fps, metadata)

    def size_made(self, interpolate: bool = True, upscale: bool = True, **settings: Any) -> tuple[int, int, int]:
        """Frames, height and width of the video that a call with these settings makes."""
        *_, (_, spec, (num_frames, height, width)) = self._steps(interpolate, upscale, settings)
        return spec.frames_made(num_frames), height * spec.enlargement, width * spec.enlargement

    def _steps(
        self, interpolate: bool, upscale: bool, settings: dict[str, Any]
    ) -> Iterator[tuple[StageConfig, StageSpec, tuple[int, int, int]]]:
        """Settings of every stage that will run, and the size of what it is given."""
        given, speed = settings.get("video"), settings.get("speed", "exact")
        own = {name: value for name, value in settings.items() if name not in _NO_SETTINGS}
        config = self.family.stage("base").configured("base", **own)
        size = (config.num_frames, config.height, config.width) if given is None else given.shape[:3]
        yield config, STAGES["base"], size
        for name in (stage for stage, is_wanted in zip(CASCADE[1:], (interpolate, upscale), strict=True) if is_wanted):
            spec = STAGES[name]
            if size[0] >= spec.min_frames:
                yield self.family.stage(name).configured(name, speed=speed), spec, size
                size = spec.frames_made(size[0]), size[1] * spec.enlargement, size[2] * spec.enlargement

    def _require_memory(self, interpolate: bool, upscale: bool, **settings: Any) -> None:
        """Refuse what some stage has no memory for, before the first one begins."""
        for config, spec, size in self._steps(interpolate, upscale, settings):
            encodes = spec.encodes or (spec.name == "base" and settings.get("video") is not None)
            work = workload_ahead(self.family, spec.name, self.device, self.dtype, size, encodes)
            if self.memory is None:
                require_host_memory(work, config)
            else:
                fitted(work, config, self.memory, offloads=self.device.type != "cpu")

    def _load(self, pipeline: type):
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        loaded = pipeline.from_pretrained(self.family, self.device, self.dtype, self.memory)
        loaded.notify = self.notify
        if self.loras and STAGES[pipeline.stage_name].takes_loras:
            loaded.set_loras(self.loras)
        if self.controls and STAGES[pipeline.stage_name].takes_controls:
            loaded.set_controls(self.controls)
        return loaded
