"""LaVie LoRA Trainer: images in, a LoRA for the base out, without leaving the graph."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..lavie.config import BUNDLED, Family
from ..lavie.errors import UsageError
from ..lavie.file_names import check_name
from ..lavie.knobs import knobs_of
from ..lavie.training.lora import PRIOR_IMAGES, LoopSettings, LoraSettings, check_packages
from . import host
from .inputs import check_images
from .loaders import model_names, resolve
from .node import Node
from .widgets import Input, choice, given, integer, number, socket, text, widget

log = logging.getLogger(__name__)

RUNS = "lavie_lora_runs"
NAME = re.compile(r"[\w][\w .-]{0,99}")


LORA = {knob.widget_name: knob for knob in knobs_of(LoraSettings).values()}
NEWER = (
    *("random_crops", "prior_frames", "loss_weight", "handheld_share", "class_word", "camera_moves"),
    *("prior_weight",),
)


def _of_lora(*names: str) -> dict[str, Input]:
    return {name: widget(LORA[name], LORA[name].unset) for name in names}


class LaVieLoraTrainer(Node):
    """Trains a LoRA on five to twenty images of a subject or a style and saves it in models/loras. The motion stays the
    model's own. Cancel stops after the current step; queue the same settings again to resume."""

    title = "LaVie LoRA Trainer"
    SEARCH_ALIASES: ClassVar = ["lavie train", "train lora", "dreambooth", "personalisation", "fine-tune"]
    OUTPUT_NODE = True
    inputs: ClassVar = {
        "images": socket("IMAGE", "Your images as a batch. They are cropped to the model's own shape."),
        "model": lambda: choice(model_names(), BUNDLED, "The model that the LoRA is for."),
        "lora_name": text("my_lora", "Name of the file in models/loras. An existing file is replaced."),
        **_of_lora("trigger"),
        "captions": text(
            "",
            "What the images show, one line each. The trigger is put before lines that lack it. Empty: the trigger "
            "alone.",
            multiline=True,
        ),
        "steps": integer(600, 1, 1_000_000, "Training steps. 400 to 1500 is usual."),
        "learning_rate": number(
            1e-4, 1e-7, 1.0, "How fast it learns. 1e-4 is usual; lavie-tiny takes 1e-3.", step=1e-5, round=1e-7
        ),
        **_of_lora("rank", "alpha", "targets", "train_text", "prior_prompt"),
        "prior_images": widget(replace(LORA["prior_images"], default=PRIOR_IMAGES), min=1),
        "batch_size": integer(1, 1, 64, "Images per step. More need more memory.", advanced=True),
        "preview_every": integer(100, 0, 100_000, "Steps between previews. 0: none.", advanced=True),
        "seed": integer(
            0,
            0,
            2**63 - 1,
            "For the noise and the order of the images.",
            control_after_generate=False,
            advanced=True,
        ),
        **_of_lora(*NEWER),
    }
    optional = NEWER
    outputs: ClassVar = {"lora": ("STRING", "The name of the file, for the lora input of LaVie LoRA Loader.")}

    def run(self, images: Tensor, model: str, lora_name: str, captions: str, **inputs: Any) -> dict[str, Any]:
        check_packages()
        check_images(images)
        output = host.loras_folder() / f"{_checked_name(lora_name)}.safetensors"
        family, _ = resolve(model, "base")
        device = host.compute_device()
        settings, loop = _lora_settings(inputs), _loop_settings(inputs, device)
        with torch.inference_mode(False), torch.enable_grad():
            _train(family, images, captions, settings, loop, output, device)
        return {"ui": {"text": [output.name]}, "result": (output.name,)}


def _lora_settings(inputs: dict[str, Any]) -> LoraSettings:
    settings = given(LORA, inputs)
    if not settings.get("prior_prompts"):
        settings |= {"prior_images": 0, "prior_frames": 1}
    return LoraSettings(**settings)


def _loop_settings(inputs: dict[str, Any], device: torch.device) -> LoopSettings:
    """`LoopSettings` of the widgets, for the device's memory and precision."""
    steps, on_gpu = inputs["steps"], device.type == "cuda"
    return LoopSettings(
        **{name: inputs[name] for name in ("steps", "batch_size", "learning_rate", "seed")},
        warmup=min(50, steps // 10),
        ema_decay=0.0,
        mixed_precision="bf16" if on_gpu and torch.cuda.is_bf16_supported() else "no",
        gradient_checkpointing=on_gpu,
        save_every=max(100, steps // 4),
        sample_every=inputs["preview_every"],
        keep=1,
        device=device.type if device.type == "cpu" else "auto",
    )


def _train(
    family: Family,
    images: Tensor,
    captions: str,
    settings: LoraSettings,
    loop: LoopSettings,
    output: Path,
    device: torch.device,
) -> None:
    from ..lavie.training.lora import Events, LoraJob, train_lora

    progress = host.Progress()
    size = (family.base.height, family.base.width)
    captioned = _captioned(images, captions, settings.trigger, settings.reading_size(*size))
    run = host.output_folder() / RUNS / f"{output.stem}-{_digest(captioned, settings, loop, family)}"
    host.free_models()

    cancel: BaseException | None = None

    def reported(report: Callable[..., None], *args: Any) -> bool:
        """Whether Cancel was pressed, now or before."""
        nonlocal cancel
        try:
            report(*args)
        except host.interruption() as pressed:
            cancel = pressed
        return cancel is not None

    def after_step(done: int, _terms: dict[str, Tensor]) -> bool:
        return reported(progress.step, "train", done, loop.steps)

    def after_samples(done: int, clips: dict[str, np.ndarray]) -> None:
        reported(progress.image, done, loop.steps, np.concatenate([frames[0] for frames in clips.values()], axis=1))

    job = LoraJob(family, size, settings, loop, run, output, device)
    result = train_lora(job, captioned, Events(progress.step, after_step, after_samples))
    if result.stopped:
        log.info("LaVie LoRA Trainer: stopped after %d steps; the same settings resume from there.", result.steps)
        raise cancel or UsageError(f"Training was stopped after {result.steps} steps; queue it again to resume.")
    shutil.rmtree(run, ignore_errors=True)
    log.info("LaVie LoRA Trainer: wrote %s after %d steps in %.0f s.", output, result.steps, result.seconds)


def _captioned(images: Tensor, captions: str, trigger: str, size: tuple[int, int]) -> Sequence[Any]:
    """IMAGE [n, H, W, 3] in 0…1, cropped to the size, each with its caption."""
    from ..lavie.training.lora import captioned_image, with_trigger

    lines = [line.strip() for line in captions.strip().splitlines()]
    if len(lines) not in (0, 1, len(images)):
        raise UsageError(f"There are {len(lines)} captions for {len(images)} images: write one line for each, or none.")
    lines = (lines or [""]) * (len(images) if len(lines) <= 1 else 1)
    if not all(lines) and not trigger:
        raise UsageError("Images without a caption need a trigger: write one, or a caption for each image.")
    captioned = []
    for index, (image, line) in enumerate(zip(images, lines, strict=True)):
        pixels = (image[..., :3].clone().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        captioned.append(captioned_image(index + 1, pixels, with_trigger(line, trigger), size))
    return captioned


def _digest(images: Sequence[Any], settings: LoraSettings, loop: LoopSettings, family: Family) -> str:
    """Changes with everything that makes another LoRA; more steps are the same run."""
    whole = hashlib.sha256(repr((asdict(settings), replace(loop, steps=1, sample_every=0), family.folder)).encode())
    for image in images:
        whole.update(image.caption.encode())
        whole.update(image.pixels.numpy().tobytes())
    return whole.hexdigest()[:8]


def _checked_name(name: str) -> str:
    name = name.strip().removesuffix(".safetensors")
    if not NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be the name of a LoRA: write letters, digits, dots, dashes and spaces.")
    check_name(name)
    return name
