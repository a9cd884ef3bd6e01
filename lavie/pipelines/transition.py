"""From one shot to another: the frames between the end of the first and the beginning of the second."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import BUNDLED, Family, StageConfig, find_family
from ..errors import UsageError
from ..models import VideoUNet
from ..models.latents import encode_video
from ..sampling import Known, TextCondition, denoise
from ..sampling.conditioning import mask_condition
from ..speed import Speed
from .conditioned_extension import MASK
from .output import Callback, VideoOutput
from .request import check_at_once, check_frames, check_latents, check_num_frames
from .resize import check_resize, resized_frames
from .sample import checked_seeds, counted, guided_by, schedule_of, stored_noise
from .stage import Stage, StagePipeline, padded_video

BASE = 4  # input channels of a UNet that is shown nothing


class TransitionPipeline(StagePipeline):
    """Two videos become one: the end of the first, new frames, the beginning of the second.

    A UNet in the mask form (SEINE) is shown the frames on both sides. Families without one take the base, at whose
    every denoising step the frames on both sides are put in place (as in RePaint, Lugmayr et al. 2022).
    """

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Family = BUNDLED,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> TransitionPipeline:
        """Load the stage that a family has for it.

        Raises:
            LavieError: files are missing, broken or of another stage.
        """
        family = name_or_path if isinstance(name_or_path, Family) else find_family(name_or_path)
        if family.extension is not None:
            extension = Stage.load("extension", family, device, dtype)
            if extension.unet.config.in_channels == MASK:
                return cls(extension)
        return cls(Stage.load("base", family, device, dtype))

    def __call__(
        self,
        prompt: str,
        first: np.ndarray,
        second: np.ndarray,
        num_frames: int = 8,
        context_frames: int = 4,
        seed: int = 0,
        resize: str = "refuse",
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        scheduler: str | None = None,
        spacing: str | None = None,
        speed: str | Speed = "exact",
        callback: Callback | None = None,
    ) -> VideoOutput:
        """The whole film: the first video, `num_frames` new frames, the second; both uint8 [F, height, width, 3].

        Args:
            prompt: what the new frames show.
            context_frames: how many frames on each side the new ones are made to fit, if a video has so many.
            resize: what becomes of a second video of another size than the first: "refuse", "crop" or "stretch"; see
                `resized`.
            speed: as in `TextToVideoPipeline.generate`.

        Raises:
            UsageError: videos of two sizes, or a setting that cannot work.
        """
        first, second = (check_frames(frames, least=1) for frames in (first, second))
        check_resize(resize)
        if resize != "refuse":
            second = resized_frames(second, first.shape[1:3], resize)
        if first.shape[1:] != second.shape[1:]:
            sizes = " and ".join("×".join(map(str, frames.shape[1:3])) for frames in (first, second))
            raise UsageError(f"The two videos differ in size ({sizes} pixels). Set resize to crop or stretch.")
        if context_frames < 1:
            raise UsageError(f"The context must be 1 frame or more, not {context_frames}.")
        config = self.stage.config.at_speed(self.stage.name, speed).replaced(
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
        )
        (generator,) = checked_seeds([seed])
        sides = (first[-context_frames:], second[:context_frames])
        before, after = (encode_video(self.stage.vae, self._video(side), generator) for side in sides)
        latents = sample_transition(
            self.stage.unet,
            self.stage.embed([prompt], config.negative_prompt),
            before,
            after,
            config,
            generator,
            device=self.stage.device,
            num_frames=num_frames,
            grey=encode_video(self.stage.vae, torch.zeros_like(self._video(first[:1]))),
            callback=callback,
        )
        height, width = first.shape[1:3]
        made = self.stage.decode(latents, "nearest", config.tile, callback)[0, :, :height, :width]
        return VideoOutput(
            np.concatenate((first, made, second)), config.fps, self._metadata(prompt, seed, num_frames, config)
        )

    def _video(self, frames: np.ndarray) -> Tensor:
        return padded_video(frames, self.stage.device)

    def _metadata(self, prompt: str, seed: int, num_frames: int, config: StageConfig) -> dict[str, Any]:
        return {
            **self.origin(),
            "prompt": prompt,
            "negative_prompt": config.negative_prompt,
            "seed": seed,
            "num_frames": num_frames,
            "num_inference_steps": config.num_inference_steps,
            "guidance_scale": config.guidance_scale,
            "scheduler": config.scheduler,
            "spacing": config.spacing,
            "speed": config.speed.metadata(),
        }


def sample_transition(
    unet: VideoUNet,
    text: TextCondition,
    before: Tensor,
    after: Tensor,
    config: StageConfig,
    generator: torch.Generator,
    *,
    device: torch.device,
    num_frames: int,
    grey: Tensor | None = None,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Scaled latents [1, 4, num_frames, h, w] of what lies between `before` and `after`, each [1, 4, F, h, w].

    Args:
        unet: of the base, or of the extension in the mask form, which needs grey.
        generator: on the CPU; the noise is drawn from where it stands.
        grey: scaled latents [1, 4, 1, h, w] of mid-grey.
        split: evaluate the two halves of the guidance in turn; see `guided`.

    Raises:
        UsageError: a setting that cannot work, or a UNet that cannot be shown both sides.
    """
    for side in (before, after):
        check_latents(side, 1)
    check_num_frames(num_frames)
    check_num_frames(num_frames + before.shape[2] + after.shape[2])
    check_at_once(unet, num_frames, *before.shape[3:], "Make a shorter transition.")
    channels, start, stop = unet.config.in_channels, before.shape[2], before.shape[2] + num_frames
    if channels not in (BASE, MASK) or (channels == MASK and grey is None):
        raise UsageError(f"A UNet of {channels} input channels cannot be shown both sides of a transition.")
    generators = [generator]
    noise = stored_noise((4, stop + after.shape[2], *before.shape[3:]), generators, device)
    given = torch.cat((before.to(noise), torch.zeros_like(noise[:, :, start:stop]), after.to(noise)), dim=2)
    place = torch.arange(noise.shape[2], device=noise.device)
    missing = (place >= start) & (place < stop)
    shown = None if channels == BASE else mask_condition(given, missing, grey.to(noise))
    known = Known(given, missing.float()[None, None, :, None, None]) if channels == BASE else None
    _, after_step = counted(callback, "transition", config.num_inference_steps)
    predict = guided_by(config, unet, text, shown, split=split, device=device)
    latents = denoise(predict, noise, schedule_of(config), generators, after_step, known=known)
    return latents[:, :, start:stop]
