"""LaVie LoRA Trainer: images in, a LoRA for the base out, without leaving the graph."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..lavie.config import BUNDLED, Family
from ..lavie.errors import UsageError
from ..lavie.training.lora import TARGETS, WEIGHTINGS, LoopSettings, LoraSettings, camera_moves
from ..lavie.training.packages import check_packages
from . import host
from .loaders import model_names, resolve
from .widgets import choice, integer, number, socket, switch, text

log = logging.getLogger(__name__)

RUNS = "lavie_lora_runs"
NAME = re.compile(r"[\w][\w .-]{0,99}")


class LaVieLoraTrainer:
    """Section 5.6 of the paper: spatial layers learn, temporal layers stay as they are."""

    DESCRIPTION = (
        "Trains a LoRA on five to twenty images of a subject or a style and saves it in models/loras. The motion stays "
        "the model's own. Cancel stops after the current step; queue the same settings again to resume."
    )
    SEARCH_ALIASES: ClassVar = ["lavie train", "train lora", "dreambooth", "personalisation", "fine-tune"]
    CATEGORY = "LaVie"
    FUNCTION = "train"
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("lora",)
    OUTPUT_TOOLTIPS = ("The name of the file, for the lora input of LaVie LoRA Loader.",)
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        return {
            "required": {
                "images": socket("IMAGE", "Your images as a batch. They are cropped to the model's own shape."),
                "model": choice(model_names(), BUNDLED, "The model that the LoRA is for."),
                "lora_name": text("my_lora", "Name of the file in models/loras. An existing file is replaced."),
                "trigger": text(
                    "", "The word that brings the subject up in a prompt. Choose one that means nothing else."
                ),
                "captions": text(
                    "",
                    "What the images show, one line each. The trigger is put before lines that lack it. Empty: the "
                    "trigger alone.",
                    multiline=True,
                ),
                "steps": integer(600, 1, 1_000_000, "Training steps. 400 to 1500 is usual."),
                "learning_rate": number(
                    1e-4, 1e-7, 1.0, "How fast it learns. 1e-4 is usual; lavie-tiny takes 1e-3.", step=1e-5, round=1e-7
                ),
                "rank": integer(16, 1, 320, "How much the LoRA can hold. 4 to 32 is usual."),
                "alpha": number(
                    0.0, 0.0, 10_000.0, "Scales the changes by alpha / rank. 0: the same as rank.", step=1.0
                ),
                "targets": choice(
                    list(TARGETS), "attention-ff", "The layers that change. all includes convolutions (a larger file)."
                ),
                "train_text": switch(False, "Also trains the text encoder."),
                "prior_prompt": text(
                    "",
                    "Prompts for what the subject is a kind of, without the trigger, one per line. The base makes "
                    "images of them first, and the LoRA keeps answering these prompts as the base does. Empty: none.",
                    multiline=True,
                ),
                "prior_images": integer(
                    50,
                    1,
                    1000,
                    "How many images to make of prior_prompt. Further lines are kept as they were at high noise only.",
                ),
                "batch_size": integer(1, 1, 64, "Images per step. More need more memory."),
                "preview_every": integer(100, 0, 100_000, "Steps between previews. 0: none."),
                "seed": integer(
                    0, 0, 2**63 - 1, "For the noise and the order of the images.", control_after_generate=False
                ),
            },
            "optional": {
                "random_crops": integer(
                    0,
                    0,
                    100,
                    "Random crops of each image, learned beside the whole one, so that the subject is not tied to one "
                    "place and size.",
                ),
                "prior_frames": integer(
                    1,
                    1,
                    64,
                    "Above 1, the base makes clips of this many frames of prior_prompt, with four of your images "
                    "learned beside each. This also keeps the motion as it was.",
                ),
                "loss_weight": choice(
                    list(WEIGHTINGS),
                    "uniform",
                    "How much each noise level counts. clean: by the error of the clean image; lavie-tiny learns "
                    "fastest with it. min-snr: gamma 5.",
                ),
                "handheld_share": number(
                    0.0,
                    0.0,
                    0.9,
                    "Share of the clips made from your images, as if filmed by a hand-held camera, so that the subject "
                    "also looks right in motion. Needs prior_frames above 1.",
                    step=0.05,
                ),
                "class_word": text(
                    "",
                    "What the subject is a kind of, as written in some lines of prior_prompt ('cat'). The subject then "
                    "goes where that would go and moves as it would.",
                ),
                "camera_moves": text(
                    "",
                    "What the camera of handheld_share does if a caption contains certain words. One WORDS=MOVE per "
                    "line, as 'standing still=still' or 'the camera zooms in=nearer'. Moves: still, left, right, up, "
                    "down, nearer, farther, hop; none: no clips of such images. Empty: a hand-held camera.",
                    multiline=True,
                ),
                "prior_weight": number(
                    1.0,
                    0.01,
                    100.0,
                    "How much the base's own images or clips count beside yours. Above 1, other prompts change less.",
                    step=0.1,
                ),
            },
        }

    def train(self, images: Tensor, model: str, lora_name: str, captions: str, **inputs: Any) -> dict[str, Any]:
        check_packages()
        output = host.loras_folder() / f"{_checked_name(lora_name)}.safetensors"
        family, _ = resolve(model, "base")
        device = host.compute_device()
        settings, loop = _lora_settings(inputs), _loop_settings(inputs, device)
        with torch.inference_mode(False), torch.enable_grad():
            _train(family, images, captions, settings, loop, output, device)
        return {"ui": {"text": [output.name]}, "result": (output.name,)}


def _lora_settings(inputs: dict[str, Any]) -> LoraSettings:
    """`LoraSettings` of the widgets, most of which have the settings' own names."""
    given = {field.name: inputs[field.name] for field in fields(LoraSettings) if field.name in inputs}
    prompts = tuple(line.strip() for line in inputs["prior_prompt"].splitlines() if line.strip())
    given |= {"alpha": inputs["alpha"] or None, "prior_prompts": prompts}
    given |= {name: inputs.get(name, "").strip() for name in ("trigger", "class_word")}
    given["camera_moves"] = camera_moves(inputs.get("camera_moves", "").splitlines())
    if not prompts:
        given |= {"prior_images": 0, "prior_frames": 1}
    return LoraSettings(**given)


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
    pictures = _pictures(images, captions, settings.trigger, settings.reading_size(*size))
    run = host.output_folder() / RUNS / f"{output.stem}-{_digest(pictures, settings, loop, family)}"
    host.free_models()

    cancel: BaseException | None = None

    def after_step(done: int, _terms: dict[str, Tensor]) -> bool:
        nonlocal cancel
        try:
            progress.step("train", done, loop.steps)
        except host.interruption() as pressed:
            cancel = pressed
        return cancel is not None

    def after_samples(done: int, clips: dict[str, np.ndarray]) -> None:
        nonlocal cancel
        try:
            progress.picture(done, loop.steps, np.concatenate([frames[0] for frames in clips.values()], axis=1))
        except host.interruption() as pressed:
            cancel = pressed

    job = LoraJob(family, size, settings, loop, run, output, device)
    result = train_lora(job, pictures, Events(progress.step, after_step, after_samples))
    if result.stopped:
        log.info("LaVie LoRA Trainer: stopped after %d steps; the same settings resume from there.", result.steps)
        raise cancel or UsageError(f"Training was stopped after {result.steps} steps; queue it again to resume.")
    shutil.rmtree(run, ignore_errors=True)
    log.info("LaVie LoRA Trainer: wrote %s after %d steps in %.0f s.", output, result.steps, result.seconds)


def _pictures(images: Tensor, captions: str, trigger: str, size: tuple[int, int]) -> Sequence[Any]:
    """IMAGE [n, H, W, 3] in 0…1, cropped to the size, each with its caption."""
    from ..lavie.training.lora import picture_of, with_trigger

    lines = [line.strip() for line in captions.strip().splitlines()]
    if len(lines) not in (0, 1, len(images)):
        raise UsageError(f"There are {len(lines)} captions for {len(images)} images: write one line for each, or none.")
    lines = (lines or [""]) * (len(images) if len(lines) <= 1 else 1)
    if not all(lines) and not trigger:
        raise UsageError("Images without a caption need a trigger: write one, or a caption for each image.")
    pictures = []
    for index, (image, line) in enumerate(zip(images, lines, strict=True)):
        pixels = (image[..., :3].clone().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        pictures.append(picture_of(index + 1, pixels, with_trigger(line, trigger), size))
    return pictures


def _digest(pictures: Sequence[Any], settings: LoraSettings, loop: LoopSettings, family: Family) -> str:
    """Changes with everything that makes another LoRA; more steps are the same run."""
    whole = hashlib.sha256(repr((asdict(settings), replace(loop, steps=1, sample_every=0), family.folder)).encode())
    for picture in pictures:
        whole.update(picture.caption.encode())
        whole.update(picture.pixels.numpy().tobytes())
    return whole.hexdigest()[:8]


def _checked_name(name: str) -> str:
    name = name.strip().removesuffix(".safetensors")
    if not NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be the name of a LoRA: write letters, digits, dots, dashes and spaces.")
    return name


NODES = {"LaVieLoraTrainer": (LaVieLoraTrainer, "LaVie LoRA Trainer")}
