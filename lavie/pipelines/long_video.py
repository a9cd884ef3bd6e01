"""Long videos: by the base stage alone, in any of the ways of `long_sampling`, or by the base and the extension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..models.latents import encode_video
from ..sampling import PromptSchedule, TextCondition, seeded
from ..sampling.seam import SEAM_FRAMES
from ..speed import Speed
from .conditioned_extension import ExtensionPipeline, sample_conditioned_extension
from .extend import WINDOW, sample_extension
from .long_sampling import sample_fifo, sample_free_long, sample_free_noise, sample_independent, sample_replacement
from .output import Callback, VideoOutput
from .request import check_at_once, check_frames, check_num_frames, check_size
from .resize import check_resize, resized_frames
from .stage import StagePipeline, padded_video
from .text_to_video import SCALE

if TYPE_CHECKING:
    from ..lora import Applied, Lora

CONDITIONED = "conditioned"
TRAINING_FREE: dict[str, Callable[..., Tensor]] = {
    "replacement": sample_replacement,
    "free_noise": sample_free_noise,
    "fifo": sample_fifo,
    "free_long": sample_free_long,
    "independent": sample_independent,
}
METHODS = (CONDITIONED, *TRAINING_FREE)
IN_ONE_PASS = ("free_noise", "free_long")
CONSTANT_MEMORY = tuple(method for method in METHODS if method not in IN_ONE_PASS)
GOES_ON = (CONDITIONED, "replacement")  # from a video that is given


class LongVideoPipeline(StagePipeline):
    """A prompt, or prompts that change over time, become a video of any length.

    method: "conditioned" goes on clip by clip with the extension stage, which is shown the last frame (the paper,
    section 5.6). The others need the base alone: "replacement" goes on clip by clip; "free_noise" and "free_long" make
    all frames in one pass, in memory that grows with their number; "fifo" makes frame by frame; "independent" is a hard
    cut after every clip.
    """

    stage_name = "base"

    _extension: ExtensionPipeline | None = None

    def __call__(self, prompt: str | PromptSchedule, num_frames: int, **settings: Any) -> VideoOutput:
        """`generate`."""
        return self.generate(prompt, num_frames, **settings)

    def generate(
        self,
        prompt: str | PromptSchedule,
        num_frames: int,
        method: str = "replacement",
        seed: int = 0,
        video: np.ndarray | None = None,
        resize: str = "refuse",
        transition: int = 0,
        context_frames: int | None = None,
        resample: int | None = None,
        drift_correction: float | None = None,
        anchor: float | None = None,
        seam_frames: int | None = None,
        motion_injection: bool | None = None,
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
        speed: str | Speed = "exact",
        callback: Callback | None = None,
    ) -> VideoOutput:
        """One video; None takes the method's or the model's own setting.

        Args:
            num_frames: in all, those of `video` included.
            video: uint8 [F, height, width, 3] that the rest goes on from ("conditioned" and "replacement"); it sets the
                size and comes back as it is.
            resize: "crop" or "stretch" brings the video to `height` and `width` first; see `resized`.
            transition: over how many frames a prompt goes over to the next; see `PromptSchedule.over_time`.
            context_frames: how many frames neighbouring clips ("replacement") or windows ("free_noise") share.
            resample: of "replacement"; see `sample_extension`.
            drift_correction, anchor, seam_frames: of both that go on; see `sample_extension` and `without_seam`.
            motion_injection: of "free_noise"; see `sample_free_noise`.
            partitions, lookahead: of "fifo"; see `sample_fifo`.
            motion: above 0, the more the video changes; see `livelier`.
            free_init_iterations: above 1, every clip is made as often, steadier each time; see `free_init`.
            speed: as in `TextToVideoPipeline.generate`; the queue of "fifo" leaves nothing out.

        Raises:
            UsageError: a setting that cannot work, or one that the method does not have.
        """
        config = self.stage.config.at_speed(self.stage.name, speed).replaced(
            negative_prompt=negative_prompt,
            height=height,
            width=width,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
        )
        check_num_frames(num_frames)
        check_length(method, self.stage.unet, config, num_frames)
        video = _resized(video, resize, config, height, width)
        if video is not None and context_frames is not None and len(video) < context_frames:
            raise UsageError(f"The context is {context_frames} frames, but the video has only {len(video)}.")
        own = method_settings(
            method,
            config.num_frames or WINDOW,
            context_frames=context_frames,
            resample=resample,
            drift_correction=drift_correction,
            anchor=anchor,
            seam_frames=seam_frames,
            motion_injection=motion_injection,
            partitions=partitions,
            lookahead=lookahead,
        )
        given = self._given(video, method, num_frames)
        text = self._text(prompt, config.negative_prompt, num_frames, transition)
        first = {"motion": motion, "free_init_iterations": free_init_iterations}
        if method == CONDITIONED:
            latents = self._conditioned(text, config, seed, num_frames, given, own, first, callback)
        elif given is not None:
            own["context_frames"] = min(own["context_frames"], given.shape[2])
            more = {**own, "motion": motion, "num_frames": num_frames - given.shape[2]}
            unet, device = self.stage.unet, self.stage.device
            latents = sample_extension(unet, text, given, config, seed, device=device, callback=callback, **more)
        else:
            more = {**own, **first, "num_frames": num_frames, "device": self.stage.device}
            latents = TRAINING_FREE[method](self.stage.unet, text, config, [seed], callback=callback, **more)
        frames = self._frames(latents, video, config, callback)
        own = {"method": method, **own, **first, "transition": transition}
        return VideoOutput(frames, config.fps, {**self._metadata(prompt, seed, num_frames, config), **own})

    def set_loras(self, loras: Sequence[Lora]) -> list[Applied]:
        """As `StagePipeline.set_loras`, on the extension stage, too."""
        if self._extension is not None:
            self._extension.set_loras(loras)
        return super().set_loras(loras)

    def _given(self, video: np.ndarray | None, method: str, num_frames: int) -> Tensor | None:
        """Scaled latents [1, 4, F, h, w] of a video to go on from."""
        if video is None:
            return None
        if method not in GOES_ON:
            raise UsageError(f"The method '{method}' begins anew. To go on from a video choose {' or '.join(GOES_ON)}.")
        if len(check_frames(video, least=1)) >= num_frames:
            raise UsageError(f"The video has {len(video)} frames already, and {num_frames} are asked for in all.")
        return encode_video(self.stage.vae, padded_video(video, self.stage.device))

    def _conditioned(
        self,
        text: TextCondition,
        config: StageConfig,
        seed: int,
        num_frames: int,
        given: Tensor | None,
        own: dict[str, Any],
        first: dict[str, Any],
        callback: Callback | None,
    ) -> Tensor:
        """The base's clip, unless a video is given, and what the extension stage makes of its end."""
        device, window = self.stage.device, config.num_frames or WINDOW
        if given is None:
            length = min(window, num_frames)
            shown = text.at(torch.arange(length))
            settings = {**first, "num_frames": length, "device": device}
            given = sample_independent(self.stage.unet, shown, config, [seed], callback=callback, **settings)
        if num_frames <= given.shape[2]:
            return given
        extension = self._extension_stage().stage
        steps = ("num_inference_steps", "guidance_scale", "scheduler", "spacing", "speed")
        known = given[:, :, -own["context_frames"] :]
        grey = None if extension.unet.config.in_channels == 8 else self._grey(known)
        added = sample_conditioned_extension(
            extension.unet,
            text.at(torch.arange(given.shape[2] - known.shape[2], num_frames)),
            known,
            extension.config.replaced(**{name: getattr(config, name) for name in steps}),
            [seeded(seed)],
            device=device,
            num_frames=num_frames - given.shape[2],
            grey=grey,
            drift_correction=own["drift_correction"],
            anchor=own["anchor"],
            seam_frames=own["seam_frames"],
            first_frame=given[:, :, :1],
            motion=first["motion"],
            callback=callback,
        )
        return torch.cat((given, added.to(given)), dim=2)

    def _extension_stage(self) -> ExtensionPipeline:
        if self._extension is None:
            stage = self.stage
            self._extension = ExtensionPipeline.from_pretrained(stage.family, stage.device, stage.dtype)
            self._extension.set_loras(self.loras)
        return self._extension

    def _grey(self, latents: Tensor) -> Tensor:
        """Scaled latents [1, 4, 1, h, w] of a mid-grey frame."""
        height, width = (8 * side for side in latents.shape[3:])
        return encode_video(self.stage.vae, torch.zeros(1, 3, 1, height, width, device=self.stage.device))

    def _frames(
        self, latents: Tensor, video: np.ndarray | None, config: StageConfig, callback: Callback | None
    ) -> np.ndarray:
        if video is None:
            return self.stage.decode(latents, "nearest", config.tile, callback)[0]
        height, width = video.shape[1:3]
        made = self.stage.decode(latents[:, :, len(video) :], "nearest", config.tile, callback)[0]
        return np.concatenate((video, made[:, :height, :width]))

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
            **self.origin(),
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
            "speed": config.speed.metadata(),
        }


def check_length(method: str, unet: VideoUNet, config: StageConfig, num_frames: int) -> None:
    """Refuse a video that a method cannot make in one pass.

    Raises:
        UsageError: what it would take, and the methods whose memory stays the same.
    """
    if method in IN_ONE_PASS:
        instead = f"Methods that take the same memory for any length: {', '.join(CONSTANT_MEMORY)}."
        check_at_once(unet, num_frames, config.height // SCALE, config.width // SCALE, instead)


def _resized(
    video: np.ndarray | None, resize: str, config: StageConfig, height: int | None, width: int | None
) -> np.ndarray | None:
    """The video to go on from in the size that is asked for."""
    check_resize(resize)
    if video is None:
        return None
    video = check_frames(video, least=1)
    if resize != "refuse":
        check_size(config.height, config.width)
        return resized_frames(video, (config.height, config.width), resize)
    if height is not None or width is not None:
        raise UsageError("The video to go on from sets the size; give no other, or set resize to crop or stretch.")
    return video


def method_settings(method: str, window: int, **given: Any) -> dict[str, Any]:
    """The settings that only this method has: those given (None: not), else its paper's for a window of 16 frames.

    Raises:
        UsageError: an unknown method, or a setting that it does not have.
    """
    if method not in METHODS:
        raise UsageError(f"Unknown method '{method}'. Choose one of: {', '.join(METHODS)}.")
    stride = max(1, window // 4)
    settings = {
        CONDITIONED: {"context_frames": 1, "drift_correction": 0.0, "anchor": 0.0, "seam_frames": SEAM_FRAMES},
        "replacement": {
            "context_frames": stride,
            "resample": 1,
            "drift_correction": 0.0,
            "anchor": 0.0,
            "seam_frames": SEAM_FRAMES,
        },
        "free_noise": {"context_frames": window - stride, "motion_injection": False},
        "fifo": {"partitions": 4, "lookahead": True},
    }
    own = settings.get(method, {})
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in own:
            having = ", ".join(method for method, names in settings.items() if name in names)
            raise UsageError(f"The method '{method}' has no setting {name}. Leave it out, or choose: {having}.")
    return {**own, **given}
