"""What `frames.py` runs: command lines, the videos that they are given, and nodes."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a red ball moving left over green grass"
OTHER_PROMPT = "a white bird over the sea"
LORA = "lavie-tiny-sunset"
SCHEDULERS = ("ddpm", "ddim", "euler", "euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lcm")
SPACINGS = ("leading", "linspace", "trailing", "karras")
METHODS = ("replacement", "free_noise", "free_long", "independent")  # fifo is slow at any settings: small frames
SPEEDS = ("balanced", "fast")
BASE_ONLY = "--no-interpolate --no-upscale"
SHORT = f"{BASE_ONLY} --frames 4 --steps 6"

# A case is a command line without -o. {clip}, {small}, …: see `inputs`. The first of each command has no settings.
COMMANDS = [
    "generate {prompt}",
    "generate {prompt} --no-upscale",
    "generate {prompt} --no-interpolate",
    f"generate {{prompt}} {BASE_ONLY}",
    f"generate {{prompt}} {BASE_ONLY} --lora {LORA}",
    f"generate {{prompt}} {SHORT} --lora {LORA}:0.7:0.4 --lora-blocks 'IN=0.3, OUT05=1' --lora-steps LATE",
    f"generate {{prompt}} --video {{clip}} {BASE_ONLY}",
    "generate {prompt} --video {small} --strength 0.3 --no-upscale",
    f"generate --prompt-file {{prompts}} {SHORT} --seed 3",
    f"generate {{prompt}} {SHORT} --size 32x48 --negative-prompt grass --guidance-scale 6",
    f"generate {{prompt}} {SHORT} --guidance-scale 1",
    f"generate {{prompt}} {SHORT} --dtype bfloat16",
    *(f"generate {{prompt}} --frames 4 --speed {speed}" for speed in SPEEDS),
    *(f"generate {{prompt}} {SHORT} --scheduler {scheduler}" for scheduler in SCHEDULERS),
    *(f"generate {{prompt}} {SHORT} --scheduler euler --spacing {spacing}" for spacing in SPACINGS),
    "interpolate {clip}",
    "interpolate {small} --prompt {prompt} --fps 5 --window 8 --overlap 2 --seed 4",
    "interpolate {small} --prompt {prompt} --guidance-scale 4 --negative-prompt grass",
    f"interpolate {{small}} --prompt {{prompt}} --lora {LORA}",
    "interpolate {long} --prompt {prompt} --segment 10 --window 8 --overlap 2",
    *(f"interpolate {{small}} --speed {speed}" for speed in SPEEDS),
    "upscale {clip}",
    "upscale {small} --chunks official",
    "upscale {small} --chunks official --color-correction none --seed 5",
    "upscale {small} --window 6 --overlap 2 --tile 24 --tile-overlap 8",
    "upscale {small} --noise-level 30 --steps 4 --guidance-scale 5 --prompt {prompt} --negative-prompt blur",
    "upscale {small} --float8",
    "upscale {long} --segment 10",
    "upscale {long} --segment 8 --chunks official",
    *(f"upscale {{small}} --speed {speed}" for speed in SPEEDS),
    "extend {prompt}",
    "extend {prompt} --method conditioned --frames 32 --steps 6 --anchor 0.5 --seam-frames 2 --drift-correction 0.5",
    *(f"extend {{prompt}} --method {method} --frames 32 --steps 6" for method in METHODS),
    "extend {schedule} --method conditioned --frames 32 --steps 6 --transition 4",
    *(f"extend {{schedule}} --method {method} --frames 32 --steps 4 --transition 4" for method in METHODS),
    "extend {prompt} --method replacement --frames 24 --steps 4 --context 6 --resample 2 --anchor 0.4 --seam-frames 0",
    "extend {schedule} --method free_noise --frames 24 --steps 4 --context 6 --motion-injection",
    "extend {prompt} --method fifo --frames 20 --size 32x48",
    "extend {schedule} --method fifo --frames 20 --steps 4 --transition 4 --motion 2 --size 32x48",
    "extend {prompt} --method free_long --frames 24 --steps 4 --motion 2 --free-init-iterations 2",
    "extend {prompt} --method independent --frames 24 --steps 4 --motion 2 --free-init-iterations 2",
    f"extend {{prompt}} --method replacement --frames 24 --steps 4 --lora {LORA}",
    *(f"extend {{prompt}} --frames 24 --speed {speed}" for speed in SPEEDS),
    "extend {prompt} --video {clip} --frames 40",
    "extend {prompt} --video {clip} --frames 32 --steps 6 --method replacement",
    "extend {prompt} --video {picture} --frames 12 --steps 6 --resize crop",
    "transition {clip} {other} {prompt}",
    "transition {clip} {other} {prompt} --frames 4 --context 2 --steps 6 --seed 9 --guidance-scale 5",
    f"transition {{clip}} {{small}} {{prompt}} --frames 4 --steps 6 --resize stretch --lora {LORA}",
    "transition {clip} {other} {prompt} --frames 4 --speed fast",
]


def inputs(folder: Path) -> dict[str, str]:
    """What the placeholders of `COMMANDS` stand for: texts, and folders of frames made here by integers alone."""
    sizes = {"clip": (16, 64, 96), "other": (8, 64, 96), "small": (12, 32, 48), "long": (22, 32, 48)}
    sizes["picture"] = (1, 80, 160)
    values = {"prompt": PROMPT, "schedule": f"0: {PROMPT}, 14: {OTHER_PROMPT}", "prompts": str(folder / "prompts.txt")}
    for number, (name, size) in enumerate(sizes.items()):
        (folder / name).mkdir()
        for index, frame in enumerate(moving_disc(*size, seed=number)):
            Image.fromarray(frame).save(folder / name / f"frame_{index:05d}.png")
        values[name] = str(folder / name)
    note = {"fps": 8, "metadata": {"prompt": PROMPT}}
    (folder / "clip" / "metadata.json").write_text(json.dumps(note), encoding="utf-8")
    Path(values["prompts"]).write_text(f"{PROMPT}\n{OTHER_PROMPT}\n", encoding="utf-8")
    return values


def moving_disc(frames: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [frames, height, width, 3]: a disc that crosses a gradient."""
    t, y, x = np.ogrid[:frames, :height, :width]
    red, green, blue = 40 + 160 * x // width, 60 + 150 * y // height, 90 + 10 * seed + t
    video = np.stack(np.broadcast_arrays(red + 0 * t + 0 * y, green + 0 * t + 0 * x, blue + 0 * y + 0 * x), axis=-1)
    away = (y - height // 2) ** 2 + (x - width * (t + 2) // (frames + 4)) ** 2
    video[away < (height // 4) ** 2] = (220, 40 + 30 * seed, 30)
    return video.astype(np.uint8)


@lru_cache
def pack() -> ModuleType:
    """The node pack, imported as ComfyUI imports it."""
    spec = importlib.util.spec_from_file_location("pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    sys.modules["pack"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def node(name: str, **given: Any) -> tuple:
    """The outputs of a node; widgets that are not given keep their defaults."""
    node_class = pack().NODE_CLASS_MAPPINGS[f"LaVie{name}"]
    kinds = node_class.INPUT_TYPES()
    every = {**kinds["required"], **kinds.get("optional", {})}
    defaults = {key: spec[1]["default"] for key, spec in every.items() if len(spec) > 1 and "default" in spec[1]}
    with torch.no_grad():
        return getattr(node_class(), node_class.FUNCTION)(**{**defaults, **given})


@lru_cache
def loaded(stage: str) -> tuple[Any, Any, Any]:
    return node("Loader", stage=stage)


@lru_cache
def wires(stage: str) -> dict[str, Any]:
    """The sockets of a sampling node: model, positive, negative."""
    model, clip, _ = loaded(stage)
    positive, negative = node("TextEncode", clip=clip, prompt=PROMPT)
    return {"model": model, "positive": positive, "negative": negative}


def with_vae(stage: str) -> dict[str, Any]:
    return {**wires(stage), "vae": loaded(stage)[2]}


def images(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(moving_disc(frames, height, width, seed)).float() / 255


@lru_cache
def latents(frames: int) -> dict[str, Tensor]:
    return node("VAEEncode", images=images(frames, 64, 96), vae=loaded("base")[2])[0]


def sample(**given: Any) -> Tensor:
    return node("BaseSampler", **{**wires("base"), **given})[0]["samples"]


def repaint_where_masked() -> Tensor:
    mask = torch.zeros(8, 64, 96)
    mask[:, 16:48, 24:64] = 1
    return sample(latent={**latents(8), "noise_mask": mask}, denoise=0.8, steps=6)


def extend(**given: Any) -> Tensor:
    return node("AutoregressiveExtender", **{**wires("base"), "latent": latents(8), **given})[0]["samples"]


def long_video(method: str, **given: Any) -> Tensor:
    settings = {"num_frames": 24, "steps": 4, "method": method, **given}
    return node("LongVideoSampler", **{**wires("base"), **settings})[0]["samples"]


def long_story(method: str, num_frames: int = 24, **given: Any) -> Tensor:
    told = {"prompts": f"0: {PROMPT}, 12: {OTHER_PROMPT}", "num_frames": num_frames, "transition": 4}
    positive, negative, _ = node("PromptSchedule", clip=loaded("base")[1], **told)
    return long_video(method, positive=positive, negative=negative, num_frames=num_frames, **given)


def interpolate(**given: Any) -> Tensor:
    return node("TemporalInterpolator", **{**with_vae("interpolation"), "images": images(12, 32, 48), **given})[0]


def upscale(**given: Any) -> Tensor:
    return node("VideoUpscaler", **{**with_vae("upscaler"), "images": images(8, 32, 48), **given})[0]


def image_to_video(stage: str, **given: Any) -> Tensor:
    return node("ImageToVideo", **{**with_vae(stage), "images": images(1, 64, 96), **given})[0]


def transition(stage: str, **given: Any) -> Tensor:
    ends = {"first": images(6, 64, 96), "second": images(6, 64, 96, seed=1)}
    return node("Transition", **{**with_vae(stage), **ends, **given})[0]


# Widgets that are not named keep their defaults.
NODES: dict[str, Callable[[], Tensor]] = {
    "node Base Sampler": sample,
    **{f"node Base Sampler, speed {name}": lambda name=name: sample(speed=name, num_frames=8) for name in SPEEDS},
    "node Base Sampler, own settings": lambda: sample(
        **{"seed": 7, "steps": 6, "guidance_scale": 5.0, "sampler": "euler", "spacing": "karras"},
        **{"num_frames": 8, "width": 64, "height": 48},
    ),
    "node Base Sampler, denoise 0.6": lambda: sample(latent=latents(8), denoise=0.6, steps=6),
    "node Base Sampler, mask": repaint_where_masked,
    "node Base Sampler, two clips": lambda: sample(
        latent={"samples": latents(4)["samples"].repeat(2, 1, 1, 1, 1)}, denoise=0.9, steps=6
    ),
    "node VAE Decode": lambda: node("VAEDecode", samples=latents(4), vae=loaded("base")[2])[0],
    "node VAE Encode": lambda: latents(4)["samples"],
    "node Temporal Interpolator": interpolate,
    "node Temporal Interpolator, windows": lambda: interpolate(window=6, overlap=2, steps=4, guidance_scale=3.0),
    "node Temporal Interpolator, speed fast": lambda: interpolate(speed="fast"),
    "node Video Upscaler": upscale,
    "node Video Upscaler, windows and tiles": lambda: upscale(window=5, overlap=2, tile=24, tile_overlap=8),
    "node Video Upscaler, no colour correction": lambda: upscale(color_correction="none", noise_level=30),
    "node Video Upscaler, speed balanced": lambda: upscale(speed="balanced"),
    "node Autoregressive Extender": extend,
    "node Autoregressive Extender, all widgets": lambda: extend(
        steps=4, resample=2, drift_correction=0.5, motion=1.0, anchor=0.4, seam_frames=2, context_frames=3
    ),
    "node Autoregressive Extender, speed fast": lambda: extend(speed="fast"),
    **{f"node Long Video Sampler, {name}": lambda name=name: long_video(name) for name in METHODS},
    **{f"node Prompt Schedule, {name}": lambda name=name: long_story(name) for name in METHODS},
    "node Prompt Schedule, fifo": lambda: long_story("fifo", num_frames=20, height=32, width=48),
    "node Long Video Sampler, motion injection": lambda: long_story("free_noise", motion_injection=True, motion=1.0),
    "node Long Video Sampler, all widgets": lambda: long_video(
        "replacement", context_frames=6, resample=2, drift_correction=0.5, free_init_iterations=2, anchor=0.4
    ),
    "node Image to Video, base": lambda: image_to_video("base", steps=6),
    "node Image to Video, extension": lambda: image_to_video("extension"),
    "node Image to Video, extension, all widgets": lambda: image_to_video(
        "extension", images=images(5, 40, 80), resize="crop", num_frames=20, steps=4, anchor=0.5, seam_frames=2
    ),
    "node Transition, base": lambda: transition("base", steps=6),
    "node Transition, all widgets": lambda: transition(
        "base", num_frames=3, context_frames=2, seed=9, steps=6, guidance_scale=5.0, sampler="euler", spacing="karras"
    ),
}
