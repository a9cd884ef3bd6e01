"""Nodes called as a graph calls them: widgets that are not named stand at their defaults."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from support.pack import load_pack

PACK = load_pack()
PROMPT = "a red ball moving left over green grass"


def part(name: str) -> ModuleType:
    """A module of the pack: "nodes.host", "lavie.errors", …"""
    return importlib.import_module(f".{name}", PACK.__name__)


def widgets(node: str) -> dict[str, Any]:
    """The defaults of a node's widgets."""
    inputs = PACK.NODE_CLASS_MAPPINGS[node].INPUT_TYPES()
    every = {**inputs["required"], **inputs.get("optional", {})}
    return {name: spec[1]["default"] for name, spec in every.items() if "default" in spec[1]}


def run(node: str, **given: Any) -> tuple:
    """What the node puts out."""
    node_class = PACK.NODE_CLASS_MAPPINGS[node]
    return getattr(node_class(), node_class.FUNCTION)(**{**widgets(node), **given})


@lru_cache
def stage(name: str) -> SimpleNamespace:
    """A stage of the bundled family, loaded once: model, clip, vae, and the two conditionings of PROMPT."""
    model, clip, vae = run("LaVieLoader", stage=name)
    positive, negative = run("LaVieTextEncode", clip=clip, prompt=PROMPT)
    return SimpleNamespace(model=model, clip=clip, vae=vae, positive=positive, negative=negative)


def wires(name: str) -> dict[str, Any]:
    """The sockets that every node of a stage has."""
    of = stage(name)
    return {"model": of.model, "positive": of.positive, "negative": of.negative}


def sample(**given: Any) -> Tensor:
    """Latents by LaVie Base Sampler: 4 frames of 32×48 pixels in 2 steps, if nothing else is said."""
    small = {"steps": 2, "seed": 7, "num_frames": 4, "height": 32, "width": 48}
    return run("LaVieBaseSampler", **{**wires("base"), **small, **given})[0]["samples"]


def extend(latents: Tensor, **given: Any) -> Tensor:
    """The longer clip by LaVie Autoregressive Extender: 4 frames more in 2 steps, if nothing else is said."""
    small = {"latent": {"samples": latents}, "num_frames": 4, "context_frames": 2, "steps": 2}
    return run("LaVieAutoregressiveExtender", **{**wires("base"), **small, **given})[0]["samples"]


def interpolate(images: Tensor, **given: Any) -> Tensor:
    """Frames by LaVie Frame Interpolation, in 2 steps if nothing else is said."""
    rest = {"vae": stage("interpolation").vae, "images": images, "steps": 2}
    return run("LaVieTemporalInterpolator", **{**wires("interpolation"), **rest, **given})[0]


def upscale(images: Tensor, **given: Any) -> Tensor:
    """Frames by LaVie Video Upscaler."""
    rest = {"vae": stage("upscaler").vae, "images": images}
    return run("LaVieVideoUpscaler", **{**wires("upscaler"), **rest, **given})[0]


def decode(latents: Tensor, tile: int = 0) -> Tensor:
    """Frames by LaVie VAE Decode."""
    return run("LaVieVAEDecode", samples={"samples": latents}, vae=stage("base").vae, tile=tile)[0]


def encode(images: Tensor) -> Tensor:
    """Latents by LaVie VAE Encode."""
    return run("LaVieVAEEncode", images=images, vae=stage("base").vae)[0]["samples"]


def network(name: str) -> nn.Module:
    """The UNet of a stage."""
    return stage(name).model.model.diffusion_model


def clip_of(frames: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth moving IMAGE [frames, height, width, 3] whose values are whole 255ths."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, max(2, frames // 4), 3, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, (frames, height, width), mode="trilinear", align_corners=True)
    return (smooth[0].permute(1, 2, 3, 0) * 255).round() / 255


def refused(call: Callable[[], Any], message: str) -> None:
    """Assert that the error is one that is raised on purpose, of one or two plain sentences."""
    try:
        call()
    except Exception as error:
        told = error
    else:
        raise AssertionError(f"no error, where one should say: {message}")
    assert type(told).__name__ in ("UsageError", "LavieError"), repr(told)
    text = str(told)
    assert re.search(message, text), text
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 320
