"""Long videos by the base stage alone, in any of the ways of `long_sampling`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..sampling import PromptSchedule, TextCondition
from .extend import WINDOW
from .long_sampling import sample_fifo, sample_free_long, sample_free_noise, sample_independent, sample_replacement
from .output import Callback, VideoOutput
from .request import check_num_frames
from .stage import StagePipeline

METHODS: dict[str, Callable[..., Tensor]] = {
    "replacement": sample_replacement,
    "free_noise": sample_free_noise,
    "fifo": sample_fifo,
    "free_long": sample_free_long,
    "independent": sample_independent,
}


class LongVideoPipeline(StagePipeline):
    """A prompt, or prompts that change over time, become a video of any length.

    method: "replacement" goes on clip by clip; "free_noise" and "free_long" make all frames in one pass, in memory
    that grows with their number; "fifo" makes frame by frame; "independent" is a hard cut after every clip.
    """

    stage_name = "base"

    def __call__(self, prompt: str | PromptSchedule, num_frames: int, **settings: Any) -> VideoOutput:
        """`generate`."""
        return self.generate(prompt, num_frames, **settings)

    def generate(
        self,
        prompt: str | PromptSchedule,
        num_frames: int,
        method: str = "replacement",
        seed: int = 0,
        transition: int = 0,
        context_frames: int | None = None,
        resample: int | None = None,
        drift_correction: float | None = None,
        partitions: int | None = None,
        lookahead: bool | None = None,
        motion: float = 0.0,
        free_init_iterations: int = 1,
        negative_prompt: str | None = None,
        height: int | None = None,
        width: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        scheduler: str | None = None,
        spacing: str | None = None,
        callback: Callback | None = None,
    ) -> VideoOutput:
        """One video; None takes the method's or the model's own setting.

        Args:
            transition: over how many frames a prompt goes over to the next; see `PromptSchedule.over_time`.
            context_frames: how many frames neighbouring clips ("replacement") or windows ("free_noise") share.
            resample, drift_correction: of "replacement"; see `sample_extension`.
            partitions, lookahead: of "fifo"; see `sample_fifo`.
            motion: above 0, the more the video changes; see `livelier`.
            free_init_iterations: above 1, every clip is made as often, steadier each time; see `free_init`.

        Raises:
            UsageError: a setting that cannot work, or one that the method does not have.
        """
        config = self.stage.config.replaced(
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
        )
        check_num_frames(num_frames)
        own = _own_settings(
            method,
            config.num_frames or WINDOW,
            context_frames=context_frames,
            resample=resample,
            drift_correction=drift_correction,
            partitions=partitions,
            lookahead=lookahead,
        )
        own = {**own, "motion": motion, "free_init_iterations": free_init_iterations}
        latents = METHODS[method](
            self.stage.unet,
            self._text(prompt, config.negative_prompt, num_frames, transition),
            config,
            [seed],
            device=self.stage.device,
            num_frames=num_frames,
            callback=callback,
            **own,
        )
        frames = self.stage.decode(latents, "nearest", config.tile, callback)[0]
        own = {"method": method, **own, "transition": transition}
        return VideoOutput(frames, config.fps, {**self._metadata(prompt, seed, num_frames, config), **own})

    def _text(self, prompt: str | PromptSchedule, negative: str, num_frames: int, transition: int) -> TextCondition:
        """One text for all frames, or, of a schedule, one for each."""
        if isinstance(prompt, str):
            return self.stage.embed([prompt], negative)
        text = self.stage.embed(list(prompt.prompts), negative)
        return TextCondition.of(prompt.over_time(text.positive, num_frames, transition), text.negative[:1])

    def _metadata(
        self, prompt: str | PromptSchedule, seed: int, num_frames: int, config: StageConfig
    ) -> dict[str, Any]:
        return {
            "model": self.stage.family.name,
            "prompt": str(prompt),
            "negative_prompt": config.negative_prompt,
            "seed": seed,
            "num_frames": num_frames,
            "height": config.height,
            "width": config.width,
            "num_inference_steps": config.num_inference_steps,
            "guidance_scale": config.guidance_scale,
            "scheduler": config.scheduler,
            "spacing": config.spacing,
        }


def _own_settings(method: str, window: int, **given: Any) -> dict[str, Any]:
    """The settings that only this method has: those given, else as its paper has them for a window of 16 frames."""
    if method not in METHODS:
        raise UsageError(f"Unknown method '{method}'. Choose one of: {', '.join(METHODS)}.")
    stride = max(1, window // 4)
    settings = {
        "replacement": {"context_frames": stride, "resample": 1, "drift_correction": 0.0},
        "free_noise": {"context_frames": window - stride},
        "fifo": {"partitions": 4, "lookahead": True},
    }
    own = settings.get(method, {})
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in own:
            having = ", ".join(method for method, names in settings.items() if name in names)
            raise UsageError(f"The method '{method}' has no setting {name}. Leave it out, or choose: {having}.")
    return {**own, **given}
