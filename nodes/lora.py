"""LaVie LoRA Loader: Stable Diffusion 1.x LoRAs on the spatial layers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from ..lavie.config import BUNDLED, find_family
from ..lavie.errors import LavieError, UsageError
from ..lavie.lora import Lora
from ..lavie.stages import STAGES
from . import host
from .inputs import info_of
from .lora_patches import add_lora
from .node import Node
from .widgets import choice, number, socket, text

log = logging.getLogger(__name__)

TEXT = "lora_te_"  # before every layer of the text encoder, in kohya's names
SHOWN = 3  # layers that a sentence names


class LaVieLoraLoader(Node):
    """Applies a LoRA for Stable Diffusion 1.x (a kohya, PEFT or diffusers file) to LaVie's spatial layers and text
    encoder. The motion stays the model's own. Chain as many as you like."""

    title = "LaVie LoRA Loader"
    SEARCH_ALIASES: ClassVar = ["lavie lora", "lora loader", "style", "load lora"]
    inputs: ClassVar = {
        "model": socket("MODEL", "LaVie's base or interpolation stage."),
        "lora_name": lambda: choice(
            lora_names(),
            next(iter(lora_names()), ""),
            "A file in models/loras made for Stable Diffusion 1.x, or the bundled one.",
        ),
        "strength_model": number(1.0, -20.0, 20.0, "How strongly it changes the images. 0: not at all.", step=0.05),
        "strength_clip": number(
            1.0, -20.0, 20.0, "How strongly it changes the text encoder. 0: not at all.", step=0.05
        ),
        "clip": socket("CLIP", "The text encoder, if the LoRA was also trained on it."),
        "blocks": text(
            "",
            "Strength per block: IN=0.3, OUT05=1, OTHER=0, or a preset (OUTALL, OUTD, INALL, …), or 17 or 26 numbers "
            "as for LoRA Block Weight. Empty: the same everywhere.",
            advanced=True,
        ),
        "over_steps": text(
            "",
            "Strength over the steps, from 0 (noise) to 1 (done), as 0: 0.2, 0.5: 1. LATE keeps the model's own "
            "motion, EARLY changes only the layout. Empty: the same throughout.",
            advanced=True,
        ),
        "lora": ("STRING", {"forceInput": True, "tooltip": "From LaVie LoRA Trainer. Replaces lora_name."}),
    }
    optional = ("clip", "blocks", "over_steps", "lora")
    outputs: ClassVar = {
        "model": ("MODEL", "The MODEL with the LoRA."),
        "clip": ("CLIP", "The CLIP with the LoRA, if one is connected."),
    }

    @classmethod
    def IS_CHANGED(cls, lora_name: str, lora: str = "", **_: Any) -> str:  # noqa: N802 (ComfyUI's name)
        """Reload a file that was replaced on disk."""
        if lora or lora is None:  # connected: the file may not exist yet, and its node reruns when it changes
            return ""
        path = lora_path(lora_name)
        return f"{path}:{path.stat().st_mtime_ns}"

    def run(
        self,
        model: Any,
        lora_name: str,
        strength_model: float,
        strength_clip: float,
        clip: Any = None,
        blocks: str = "",
        over_steps: str = "",
        lora: str = "",
    ) -> tuple[Any, Any]:
        info = info_of(model)
        if info is None:
            raise UsageError("This MODEL is not LaVie's. Use the core Load LoRA for it.")
        if not STAGES[info.stage].takes_loras:
            fitting = ", ".join(name for name, spec in STAGES.items() if spec.takes_loras)
            raise UsageError(
                f"LaVie's {info.stage} is no Stable Diffusion 1.x model, so no LoRA fits it. Connect one of: {fitting}."
            )
        path = lora_path(lora or lora_name)
        host.check_interrupt()
        chosen = Lora.read(path, strength_model, strength_clip, blocks, over_steps)
        model, clip, layers, left = add_lora(model, clip, chosen)
        if layers == 0:
            raise LavieError(
                f"{path.name} fits no layer of this model. It must be made for Stable Diffusion 1.x (lavie-tiny takes "
                "only its own)."
            )
        log.info("LaVie LoRA Loader: %s patches %d layers.", path.name, layers)
        sentence = left_out(path.name, layers, [*left, *chosen.temporal], clip is not None)
        if sentence:
            host.note(sentence)
        return model, clip


def left_out(name: str, used: int, left: Sequence[str], with_clip: bool) -> str:
    """What of a LoRA has no effect here, in words; empty if all of it has.

    Args:
        used: how many of its layers act. left: the others. with_clip: a CLIP is connected.
    """
    of_text = [layer for layer in left if layer.startswith(TEXT) and not with_clip]
    other = [layer for layer in left if layer not in of_text]
    sentences = [f"{name}: {used} layers act."]
    if other:
        shown = ", ".join(other[:SHOWN]) + (", …" if len(other) > SHOWN else "")
        sentences.append(f"Left out, as this model has no place for them: {len(other)} ({shown}).")
    if of_text:
        sentences.append(f"For the text encoder: {len(of_text)}; connect clip to use them.")
    return " ".join(sentences) if left else ""


def _bundled() -> dict[str, Path]:
    folder = find_family(BUNDLED).folder / "loras"
    return {f"{BUNDLED}/{path.name}": path for path in sorted(folder.glob("*.safetensors"))}


def lora_names() -> list[str]:
    return [*_bundled(), *host.files("loras")]


def lora_path(name: str) -> Path:
    """The file of a choice; raises UsageError if there is none."""
    return _bundled().get(name) or host.find_file("loras", name)
