"""All stages in turn: a prompt becomes a long, large, smooth video."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..config import BUNDLED, Family, find_family
from ..runtime import choose_device, choose_dtype
from ..speed import Speed
from .interpolate import InterpolationPipeline
from .output import Callback, VideoOutput
from .stage import require_files
from .text_to_video import TextToVideoPipeline
from .upscale import UpscalePipeline

if TYPE_CHECKING:
    from ..lora import Lora


log = logging.getLogger(__name__)


class CascadePipeline:
    """Base, temporal interpolation and super-resolution; one stage is in memory at a time.

    memory, tell: see `StagePipeline`.
    """

    def __init__(self, family: Family, device: torch.device, dtype: torch.dtype, memory: int | None = None) -> None:
        self.family = family
        self.device = device
        self.dtype = dtype
        self.memory = memory
        self.tell: Callable[[str], None] = log.info
        self.loras: tuple[Lora, ...] = ()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str = BUNDLED,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        memory: int | None = None,
    ) -> CascadePipeline:
        """A family by name ("lavie-tiny", "lavie") or folder; the stages load when they are needed."""
        chosen = choose_device(device)
        return cls(find_family(name_or_path), chosen, choose_dtype(dtype, chosen), memory)

    def set_loras(self, loras: Sequence[Lora]) -> None:
        """Put exactly these LoRAs on the base and the interpolation stage whenever they are loaded."""
        self.loras = tuple(loras)

    def __call__(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        seed: int = 0,
        scheduler: str | None = None,
        spacing: str | None = None,
        interpolate: bool = True,
        upscale: bool = True,
        video: np.ndarray | None = None,
        strength: float = 1.0,
        speed: str | Speed = "exact",
        callback: Callback | None = None,
    ) -> VideoOutput:
        """Generate a video, or repaint the one given (uint8 [F, H, W, 3]): see `TextToVideoPipeline.generate`.

        `num_inference_steps`, `guidance_scale`, `scheduler`, `spacing` and `negative_prompt` are those of the base
        stage; the later stages keep their own. `speed` is for all: a preset, or settings that serve every stage.
        """
        wanted = {"base": True, "interpolation": interpolate, "upscaler": upscale}
        for stage in (name for name, is_wanted in wanted.items() if is_wanted):
            require_files(self.family, getattr(self.family, stage))
        made = self._load(TextToVideoPipeline)(
            prompt,
            seed=seed,
            negative_prompt=negative_prompt,
            num_frames=num_frames,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
            video=video,
            strength=strength,
            speed=speed,
            callback=callback,
        )
        metadata = {**made.metadata, "stages": {}}
        if interpolate and len(made.frames) > 1:
            made = self._load(InterpolationPipeline)(
                made.frames, prompt, made.fps, seed, speed=speed, callback=callback
            )
            metadata["stages"]["interpolation"] = made.metadata
        if upscale:
            made = self._load(UpscalePipeline)(made.frames, prompt, made.fps, seed, speed=speed, callback=callback)
            metadata["stages"]["upscaler"] = made.metadata
        return VideoOutput(made.frames, made.fps, metadata)

    def _load(self, pipeline: type):
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        loaded = pipeline.from_pretrained(self.family, self.device, self.dtype, self.memory)
        loaded.tell = self.tell
        if self.loras and pipeline is not UpscalePipeline:
            loaded.set_loras(self.loras)
        return loaded
