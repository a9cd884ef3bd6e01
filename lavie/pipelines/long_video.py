"""Long videos, with any method of `lavie.long_video`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..checks import check_at_once, check_frames, check_num_frames, check_size
from ..config import StageConfig
from ..errors import UsageError
from ..job import Callback, Job, seeded_generators
from ..knobs import documented, knobs_of
from ..long_video import METHODS, LongVideoSettings, Method, method_of
from ..long_video.conditioned import check_context, continued
from ..models import VideoUNet
from ..runtime.budget import Plan
from ..sampling import PromptSchedule, TextCondition
from ..stages import VAE_FACTOR
from ..video import check_frame_rate
from .extension import ExtensionPipeline
from .output import VideoOutput
from .resize import check_resize, resized_frames
from .stage import StagePipeline, padded_video

if TYPE_CHECKING:
    from ..lora import Applied, Lora


class LongVideoPipeline(StagePipeline):
    """Makes a video of any length from a prompt, or from prompts that change over time, with a method of
    `lavie.long_video`."""

    stage_name = "base"

    _extension: ExtensionPipeline | None = None

    @documented(LongVideoSettings)
    @documented(StageConfig, "base")
    def generate(
        self,
        prompt: str | PromptSchedule,
        num_frames: int,
        method: str | None = None,
        seed: int = 0,
        video: np.ndarray | None = None,
        fps: float | None = None,
        resize: str = "refuse",
        callback: Callback | None = None,
        **settings: Any,
    ) -> VideoOutput:
        """Make one video. None stands for the method's or the model's own setting.

        Args:
            num_frames: in all, including those of `video`.
            method: of `lavie.long_video.METHODS`; by default "conditioned" if the model has an extension stage, else
                "replacement".
            video: uint8 [F, height, width, 3] to continue, for methods that can. It sets the size and is returned
                unchanged.
            fps: of that video, and so of the whole; by default the model's own.
            resize: "crop" or "stretch" first brings the video to `height` and `width`; see `resized`.

        Raises:
            UsageError: a setting that cannot work, or one that the method does not have.
        """
        chosen = method_of(method or ("replacement" if self.stage.family.extension is None else "conditioned"))
        own = {name: settings.pop(name) for name in knobs_of(LongVideoSettings) if name in settings}
        asked_size = (settings.get("height"), settings.get("width"))
        config = self.configured(**settings)
        check_num_frames(num_frames)
        check_frame_rate(fps)
        check_length(chosen, self.stage.unet, config, num_frames)
        video = _resized(video, resize, config, asked_size)
        context = own.get("context_frames")
        if video is not None and context is not None and len(video) < context:
            raise UsageError(f"The context is {context} frames, but the video has only {len(video)}.")
        how = chosen.settings(config.clip_frames, **own)
        _check_start(video, chosen, num_frames)
        plan = self._planned(config, chosen, num_frames, video)
        given = None if video is None else self.stage.encode(padded_video(video, self.stage.device), plan)
        text = self._text(prompt, config.negative_prompt, num_frames, how.transition)
        job = self.job(text, plan, seeded_generators([seed]), callback)
        latents = self._sampled(chosen, job, seed, num_frames, how, given)
        frames = self._frames(latents, video, plan, callback)
        more = {**chosen.described(how), "num_frames": num_frames, "resize": resize, **plan.vae_metadata}
        config = replace(config, height=frames.shape[1], width=frames.shape[2])  # a video sets them, too
        return VideoOutput(frames, fps or config.fps, self.described(config, str(prompt), seed, **more))

    __call__ = generate

    def set_loras(self, loras: Sequence[Lora]) -> list[Applied]:
        """As `StagePipeline.set_loras`, also on the extension stage."""
        if self._extension is not None:
            self._extension.set_loras(loras)
        return super().set_loras(loras)

    def _planned(self, config: StageConfig, method: Method, num_frames: int, video: np.ndarray | None) -> Plan:
        height, width = (config.height, config.width) if video is None else video.shape[1:3]
        seen = num_frames if method.one_pass else min(num_frames, config.clip_frames)
        return self.planned(config, seen, height, width, encodes=video is not None)

    def _sampled(
        self, method: Method, job: Job, seed: int, num_frames: int, settings: LongVideoSettings, given: Tensor | None
    ) -> Tensor:
        """Scaled latents of the whole video."""
        job = job.over(num_frames)
        if method.stage:
            return self._by_extension(job, seed, num_frames, settings, given)
        if given is None:
            return method.sample(job, num_frames, settings)
        known = given.shape[2]
        settings = replace(settings, context_frames=min(settings.context_frames, known))
        return torch.cat((given, method.continued(job, given, num_frames - known, settings)), dim=2)

    def _by_extension(
        self, job: Job, seed: int, num_frames: int, settings: LongVideoSettings, given: Tensor | None
    ) -> Tensor:
        """The base's clip, or the given video, continued by the extension stage."""
        length = min(job.config.clip_frames, num_frames) if given is None else given.shape[2]
        if num_frames > length:  # refuse an impossible context before the base runs
            stage = self._extension_stage().stage
            check_context(stage.unet, min(settings.context_frames, length), stage.config.clip_frames)
        if given is None:
            shown = replace(job, text=job.text.at(torch.arange(length)))
            given = METHODS["independent"].sample(shown, length, settings)
        if num_frames == length:
            return given
        self.stage.release()
        extension = self._extension_stage()
        shared = {name: getattr(job.config, name) for name in knobs_of(StageConfig, "extension")}
        config = extension.stage.config.replaced(**shared)
        height, width = (VAE_FACTOR * side for side in given.shape[3:])
        plan = extension.planned(config, config.clip_frames, height, width)
        grey = extension.stage.grey_latents(height, width)
        own = extension.job(job.text, plan, seeded_generators([seed]), job.callback)
        added = continued(own, given, num_frames - given.shape[2], settings, grey, given[:, :, :1])
        extension.stage.release()
        return torch.cat((given, added.to(given)), dim=2)

    def _extension_stage(self) -> ExtensionPipeline:
        if self._extension is None:
            stage = self.stage
            self._extension = ExtensionPipeline.from_pretrained(stage.family, stage.device, stage.dtype, self.memory)
            self._extension.notify = self.notify
            self._extension.set_loras(self.loras)
        return self._extension

    def _frames(self, latents: Tensor, video: np.ndarray | None, plan: Plan, callback: Callback | None) -> np.ndarray:
        if video is None:
            return self.stage.decode(latents, plan, callback)[0]
        height, width = video.shape[1:3]
        made = self.stage.decode(latents[:, :, len(video) :], plan, callback)[0]
        return np.concatenate((video, made[:, :height, :width]))

    def _text(self, prompt: str | PromptSchedule, negative: str, num_frames: int, transition: int) -> TextCondition:
        """One text for all frames or, for a schedule, one per frame."""
        if isinstance(prompt, str):
            return self.stage.embed([prompt], negative)
        text = self.stage.embed(list(prompt.prompts), negative)
        return TextCondition.of(prompt.over_time(text.positive, num_frames, transition), text.negative[:1])


def check_length(method: Method, unet: VideoUNet, config: StageConfig, num_frames: int) -> None:
    """Refuse a video that a method cannot make in one pass.

    Raises:
        UsageError: too long; the message says what it would take, and names the methods whose memory is constant.
    """
    if method.one_pass:
        constant = ", ".join(other.name for other in METHODS.values() if not other.one_pass)
        instead = f"Methods that take the same memory for any length: {constant}."
        check_at_once(unet, num_frames, config.height // VAE_FACTOR, config.width // VAE_FACTOR, instead)


def _check_start(video: np.ndarray | None, method: Method, num_frames: int) -> None:
    if video is None:
        return
    if not method.continues:
        able = " or ".join(other.name for other in METHODS.values() if other.continues)
        raise UsageError(f"The method '{method.name}' begins anew. To go on from a video choose {able}.")
    if len(video) >= num_frames:
        raise UsageError(f"The video has {len(video)} frames already, and {num_frames} are asked for in all.")


def _resized(
    video: np.ndarray | None, resize: str, config: StageConfig, asked: tuple[int | None, int | None]
) -> np.ndarray | None:
    """The video to continue, in the requested size."""
    check_resize(resize)  # also without a video
    if video is None:
        return None
    video = check_frames(video, minimum=1)
    if resize != "refuse":
        check_size(config.height, config.width)
        return resized_frames(video, (config.height, config.width), resize)
    if any(side is not None for side in asked):
        raise UsageError("The video to go on from sets the size; give no other, or set resize to crop or stretch.")
    return video
