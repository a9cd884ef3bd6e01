"""LaVie Text Encode: what to show and what to avoid, as CONDITIONING."""

from __future__ import annotations

from typing import Any, ClassVar

from ..lavie.errors import UsageError
from . import host
from .inputs import socket


class LaVieTextEncode:
    """Two prompts, encoded together."""

    DESCRIPTION = (
        "Turns a prompt, and what to avoid, into conditioning. (word:1.3) weighs a word, prompts may be of any length, "
        "and an empty negative prompt stands for the stage's own."
    )
    SEARCH_ALIASES: ClassVar = ["lavie prompt", "text prompt", "clip text encode", "negative prompt"]
    CATEGORY = "LaVie"
    FUNCTION = "encode"
    RETURN_TYPES = ("CONDITIONING", "CONDITIONING")
    RETURN_NAMES = ("positive", "negative")
    OUTPUT_TOOLTIPS = (
        "What the video shows: for the positive input of a LaVie node or of KSampler.",
        "What it avoids: for the negative input.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "clip": socket("CLIP", "The text encoder of the same LaVie Loader as the MODEL."),
                "prompt": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "dynamicPrompts": True,
                        "tooltip": "What the video shows. (word:1.3) weighs more, (word:0.7) less. Later stages of the "
                        "cascade may leave it empty.",
                    },
                ),
                "negative_prompt": (
                    "STRING",
                    {
                        "default": "",
                        "multiline": True,
                        "dynamicPrompts": True,
                        "tooltip": "What the video avoids. Empty: the model's own (the upscaler's is "
                        "'blur, worst quality').",
                    },
                ),
            }
        }

    def encode(self, clip: Any, prompt: str, negative_prompt: str) -> tuple[list, list]:
        if clip is None:
            raise UsageError(
                "LaVie Text Encode got no CLIP: the loader found no text encoder. Wire the CLIP of another loader."
            )
        info = getattr(getattr(clip, "cond_stage_model", None), "lavie", None)
        if not prompt.strip() and (info is None or info.stage == "base"):
            raise UsageError("The prompt is empty. Say what the video shows, for example: a red ball moving left.")
        host.check_interrupt()
        if info is not None:
            prompt += info.config.prompt_suffix
            negative_prompt = negative_prompt or info.config.negative_prompt
        positive, negative = (
            clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in (prompt, negative_prompt)
        )
        return positive, negative


NODES = {"LaVieTextEncode": (LaVieTextEncode, "LaVie Text Encode")}
