"""LaVie Text Encode and LaVie Prompt Schedule: prompts as CONDITIONING."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch

from ..lavie.config import MAX_FRAMES
from ..lavie.errors import UsageError
from ..lavie.sampling import PromptSchedule
from ..lavie.stages import STAGES
from . import host
from .adapters import PER_FRAME
from .node import Node
from .widgets import integer, socket, text

CLIP = socket("CLIP", "The text encoder of the same LaVie Loader as the MODEL.")
NEGATIVE = ("CONDITIONING", "What it should avoid: for the negative input.")


class LaVieTextEncode(Node):
    """Encodes a prompt and a negative prompt. (word:1.3) gives a word more weight, prompts can have any length, and an
    empty negative prompt stands for the stage's own."""

    title = "LaVie Text Encode"
    SEARCH_ALIASES: ClassVar = ["lavie prompt", "text prompt", "clip text encode", "negative prompt"]
    inputs: ClassVar = {
        "clip": CLIP,
        "prompt": text(
            "",
            "What the video should show. (word:1.3) weighs more, (word:0.7) less. May be empty for interpolation and "
            "upscaler.",
            multiline=True,
            dynamicPrompts=True,
        ),
        "negative_prompt": text(
            "",
            "What the video should avoid. Empty: the model's own (the upscaler's is 'blur, worst quality').",
            multiline=True,
            dynamicPrompts=True,
        ),
    }
    outputs: ClassVar = {
        "positive": (
            "CONDITIONING",
            "What the video should show: for the positive input of a LaVie node or of KSampler.",
        ),
        "negative": NEGATIVE,
    }

    def run(self, clip: Any, prompt: str, negative_prompt: str) -> tuple[list, list]:
        if clip is None:
            raise UsageError(
                "LaVie Text Encode got no CLIP: the loader found no text encoder. Wire the CLIP of another loader."
            )
        info = getattr(getattr(clip, "cond_stage_model", None), "lavie", None)
        if info is None or STAGES[info.stage].needs_prompt:
            require_prompt(prompt)
        host.check_interrupt()
        if info is not None:
            prompt += info.config.prompt_suffix
            negative_prompt = negative_prompt or info.config.negative_prompt
        positive, negative = (
            clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (prompt, negative_prompt)
        )
        return positive, negative


def require_prompt(prompt: str) -> None:
    """Refuse one that says nothing."""
    if not prompt.strip():
        raise UsageError("The prompt is empty. Say what the video shows, for example: a red ball moving left.")


class LaViePromptSchedule(Node):
    """A prompt for each part of a long video: one per line, each with its first frame (0: …). One prompt turns
    gradually into the next."""

    title = "LaVie Prompt Schedule"
    SEARCH_ALIASES: ClassVar = ["lavie prompts", "prompt travel", "prompt schedule", "story", "prompts over time"]
    inputs: ClassVar = {
        "clip": CLIP,
        "prompts": text(
            "0: a red ball moving right over green grass\n32: a red ball moving left over a sunset",
            "One prompt per line, each with its first frame: 0: …",
            multiline=True,
        ),
        "negative_prompt": text("", "What the whole video should avoid. Empty: the model's own.", multiline=True),
        "num_frames": integer(64, 1, MAX_FRAMES, "Frames of the whole video."),
        "transition": integer(8, 0, MAX_FRAMES, "Frames over which one prompt turns into the next. 0: at once."),
    }
    outputs: ClassVar = {
        "positive": (
            "CONDITIONING",
            "For the positive input of LaVie Long Video Sampler, or of KSampler with a latent of as many frames.",
        ),
        "negative": NEGATIVE,
        "num_frames": ("INT", "For num_frames of the sampler; the two must be equal."),
    }

    def run(
        self, clip: Any, prompts: str, negative_prompt: str, num_frames: int, transition: int
    ) -> tuple[list, list, int]:
        schedule, encode = PromptSchedule.parse(prompts), LaVieTextEncode().run
        parts = [encode(clip, prompt, negative_prompt) for prompt in schedule.prompts]
        (first, options), negative = parts[0][0][0], parts[0][1]
        tokens = math.lcm(*(positive[0][0].shape[1] for positive, _ in parts))
        states = [positive[0][0].repeat(1, tokens // positive[0][0].shape[1], 1) for positive, _ in parts]
        frames = schedule.over_time(torch.cat(states), num_frames, transition)
        return [[first, {**options, PER_FRAME: frames}]], negative, num_frames
