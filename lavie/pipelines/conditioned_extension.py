"""The extension stage: a UNet that is shown the end of a clip makes what follows, again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import StageConfig
from ..errors import UsageError
from ..models import VideoUNet
from ..models.latents import encode_video
from ..sampling import Anchor, TextCondition, denoise, livelier, matched_statistics
from ..sampling.conditioning import first_frame_condition, mask_condition
from ..sampling.seam import SEAM_FRAMES, check_seam_frames, without_seam
from ..sampling.statistics import check_strength
from ..speed import Speed
from .extend import WINDOW
from .output import Callback, VideoOutput
from .request import check_frames, check_latents, check_num_frames, check_texts
from .sample import checked_seeds, counted, guided_by, schedule_of, stored_noise
from .stage import StagePipeline, padded_video

FIRST_FRAME, MASK = 8, 9  # input channels: noisy latents and the frame's; noisy latents, mask and masked latents


class ExtensionPipeline(StagePipeline):
    """A clip goes on: every recursion makes a clip that starts with the last frame of the one before.

    A UNet of 8 input channels is shown that frame all along (the paper, section 5.6), one of 9 the last few frames
    and a mask (SEINE). Nothing is pasted back: the given frames come back as they are, and the network's own version
    of them is left out.
    """

    stage_name = "extension"

    def __call__(
        self, prompt: str, frames: np.ndarray, seed: int = 0, callback: Callback | None = None, **settings: Any
    ) -> VideoOutput:
        """One clip, uint8 [F, height, width, 3], and what follows; `settings` as for `generate`."""
        return self.generate([prompt], [frames], [seed], callback=callback, **settings)[0]

    def generate(
        self,
        prompts: list[str],
        videos: Sequence[np.ndarray],
        seeds: list[int],
        num_frames: int | None = None,
        recursions: int | None = None,
        context_frames: int = 1,
        drift_correction: float = 0.0,
        anchor: float = 0.0,
        seam_frames: int = SEAM_FRAMES,
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        scheduler: str | None = None,
        spacing: str | None = None,
        speed: str | Speed = "exact",
        callback: Callback | None = None,
    ) -> list[VideoOutput]:
        """Extend one video, uint8 [F, height, width, 3], per prompt and seed, all of one size, as one batch.

        Args:
            num_frames: how many frames to add; or
            recursions: how many clips to add, each as long as the model's window less the known frames (default: 1).
            context_frames: how many of the last frames the network is shown; more than 1 needs the mask form.
            drift_correction, anchor, seam_frames: see `sample_conditioned_extension`.
            speed: as in `TextToVideoPipeline.generate`.

        Raises:
            UsageError: a setting that cannot work.
        """
        if not len(prompts) == len(videos) == len(seeds):
            raise UsageError(f"{len(prompts)} prompts, {len(videos)} videos and {len(seeds)} seeds do not pair up.")
        config = self.stage.config.at_speed(self.stage.name, speed).replaced(
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            scheduler=scheduler,
            spacing=spacing,
        )
        videos = [check_frames(video, least=1) for video in videos]
        num_frames = _num_frames(num_frames, recursions, new_frames(context_frames, config.num_frames or WINDOW))
        generators = checked_seeds(seeds)
        text = self.stage.embed(prompts, config.negative_prompt)
        latents = sample_conditioned_extension(
            self.stage.unet,
            text,
            self._encoded(videos, context_frames, generators),
            config,
            generators,
            device=self.stage.device,
            num_frames=num_frames,
            grey=self._grey(videos[0]),
            drift_correction=drift_correction,
            anchor=anchor,
            first_frame=self._encoded([video[:1] for video in videos], 1, generators) if anchor else None,
            seam_frames=seam_frames,
            callback=callback,
        )
        height, width = videos[0].shape[1:3]
        added = self.stage.decode(latents, "nearest", config.tile, callback)[:, :, :height, :width]
        return [
            VideoOutput(
                np.concatenate((video, clip)),
                config.fps,
                {
                    **self._metadata(prompt, seed, num_frames, context_frames, config),
                    "drift_correction": drift_correction,
                    "anchor": anchor,
                    "seam_frames": seam_frames,
                },
            )
            for video, clip, prompt, seed in zip(videos, added, prompts, seeds, strict=True)
        ]

    def _encoded(self, videos: list[np.ndarray], context_frames: int, generators: list[torch.Generator]) -> Tensor:
        """Scaled latents [batch, 4, context_frames, h, w] of the last frames."""
        if len({video.shape[1:3] for video in videos}) > 1:
            raise UsageError("The videos differ in size: extend them one by one.")
        if min(len(video) for video in videos) < context_frames:
            raise UsageError(f"The context is {context_frames} frames, but a video has fewer.")
        ends = [padded_video(video[-context_frames:], self.stage.device) for video in videos]
        latents = [encode_video(self.stage.vae, end, noise) for end, noise in zip(ends, generators, strict=True)]
        return torch.cat(latents)

    def _grey(self, video: np.ndarray) -> Tensor | None:
        """Scaled latents [1, 4, 1, h, w] of a frame that the mask form has not been given."""
        if self.stage.unet.config.in_channels != MASK:
            return None
        return encode_video(self.stage.vae, torch.zeros_like(padded_video(video[:1], self.stage.device)))

    def _metadata(
        self, prompt: str, seed: int, num_frames: int, context_frames: int, config: StageConfig
    ) -> dict[str, Any]:
        return {
            **self.origin(),
            "prompt": prompt,
            "negative_prompt": config.negative_prompt,
            "seed": seed,
            "num_frames": num_frames,
            "context_frames": context_frames,
            "num_inference_steps": config.num_inference_steps,
            "guidance_scale": config.guidance_scale,
            "scheduler": config.scheduler,
            "spacing": config.spacing,
            "speed": config.speed.metadata(),
        }


def sample_conditioned_extension(
    unet: VideoUNet,
    text: TextCondition,
    context: Tensor,
    config: StageConfig,
    generators: list[torch.Generator],
    *,
    device: torch.device,
    num_frames: int,
    grey: Tensor | None = None,
    drift_correction: float = 0.0,
    anchor: float = 0.0,
    first_frame: Tensor | None = None,
    seam_frames: int = SEAM_FRAMES,
    motion: float = 0.0,
    split: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Scaled latents [batch, 4, num_frames, h, w] of what follows the last known ones [batch, 4, F, h, w].

    Every recursion shows the network the last F latents made so far, and drops its own version of them. Over
    `seam_frames` new frames it fades out how that version differed; with 0 it is the recursion of the paper (section
    5.6) and of SEINE.

    Args:
        text: for all frames, or for each of the F + num_frames.
        config: of the extension stage; its `num_frames` is the length of a clip, known frames included.
        generators: one CPU generator per clip; the noise is drawn from where they stand.
        grey: scaled latents [1, 4, 1, h, w] of mid-grey, for a UNet in the mask form.
        drift_correction: 0…1, how far colours and contrast of later clips are drawn to those of the first one made; see
            `matched_statistics`.
        anchor: 0…1, how long new frames hold on to the colours and the layout of the film's first; see `Anchor`.
        first_frame: scaled latents [batch, 4, 1, h, w] of that one; by default it is the first known one.
        seam_frames: see `without_seam`.
        motion: how much more new frames change; see `livelier`.
        split: evaluate the two halves of the guidance in turn; see `guided`.

    Raises:
        UsageError: a setting that cannot work, or a context that the network has no form for.
    """
    check_latents(context, len(generators))
    check_num_frames(num_frames)
    check_strength(drift_correction)
    check_seam_frames(seam_frames)
    window, known = config.num_frames or WINDOW, context.shape[2]
    check_texts(text.frames, known + num_frames)
    new = new_frames(known, window)
    rounds = -(-num_frames // new)
    condition = _condition_of(unet, known, window, grey)
    _, after_step = counted(callback, "extension", rounds * config.num_inference_steps)
    clips, strategy, last = [context], livelier(motion), known + num_frames - 1
    still = Anchor(context[:, :, :1] if first_frame is None else first_frame, anchor)
    for number in range(rounds):
        noise = stored_noise((4, window, *context.shape[3:]), generators, device)
        end = clips[-1][:, :, -known:].to(noise)
        shown = condition(end)
        texts = text.at(torch.arange(number * new, number * new + window).clamp(max=last))
        predict = guided_by(config, unet, texts, shown, split=split, device=device, strategy=strategy)
        made = denoise(predict, noise, schedule_of(config), generators, after_step, anchor=still)
        made = matched_statistics(made, clips[1], drift_correction) if len(clips) > 1 else made
        clips.append(without_seam(made, end, seam_frames))
    return torch.cat([clip[:, :, known:].to(clips[1]) for clip in clips[1:]], dim=2)[:, :, :num_frames]


def new_frames(context_frames: int, window: int) -> int:
    """How many frames a recursion adds.

    Raises:
        UsageError: none.
    """
    if not 1 <= context_frames < window:
        raise UsageError(f"The context must be between 1 and {window - 1} frames, not {context_frames}.")
    return window - context_frames


def _condition_of(unet: VideoUNet, known: int, window: int, grey: Tensor | None) -> Callable[[Tensor], Tensor]:
    """What the network is given of the known latents [batch, 4, F, h, w], by its input channels."""
    channels = unet.config.in_channels
    if channels == FIRST_FRAME:
        if known != 1:
            raise UsageError("This model is shown one frame of the clip that it extends: set the context to 1.")
        return lambda latents: first_frame_condition(latents, window)
    if channels != MASK or grey is None:
        raise UsageError(
            f"A UNet of {channels} input channels extends no clips: 8 or, with grey latents, 9 are needed."
        )

    def masked(latents: Tensor) -> Tensor:
        missing = torch.arange(window, device=latents.device) >= known
        place = torch.arange(window).clamp(max=known - 1)
        return mask_condition(latents[:, :, place], missing, grey.to(latents))

    return masked


def _num_frames(num_frames: int | None, recursions: int | None, per_recursion: int) -> int:
    if num_frames is not None and recursions is not None:
        raise UsageError("Give the number of frames or the number of recursions, not both.")
    if num_frames is None:
        num_frames = per_recursion * (1 if recursions is None else recursions)
    check_num_frames(num_frames)
    return num_frames
