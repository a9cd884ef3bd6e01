"""LaVie's CLIP and VAE in core nodes, and a VAE of ComfyUI's in LaVie's nodes."""

from __future__ import annotations

from typing import Any

import comfy.sd
import torch
from comfy.taesd.taesd import TAESD
from figures import refusal, relative
from support.graph import PROMPT, decode, encode, run, stage, wires

import nodes as core


def text() -> dict[str, Any]:
    base = stage("base")
    encoded = core.CLIPTextEncode().encode(base.clip, PROMPT)[0][0][0]
    weighted = core.CLIPTextEncode().encode(base.clip, "a (red:1.3) ball")[0][0][0]
    long = core.CLIPTextEncode().encode(base.clip, PROMPT + " and on" * 100)[0][0][0]
    skipped = core.CLIPTextEncode().encode(core.CLIPSetLastLayer().set_last_layer(base.clip, -2)[0], PROMPT)[0][0][0]
    again = core.CLIPTextEncode().encode(base.clip, PROMPT)[0][0][0]
    return {
        "same": torch.equal(encoded, base.positive[0][0]),
        "weighted": relative(weighted, core.CLIPTextEncode().encode(base.clip, "a red ball")[0][0][0]),
        "long": list(long.shape),
        "clip_skip": relative(skipped, encoded),
        "afterwards": torch.equal(again, encoded),
    }


def pictures() -> dict[str, Any]:
    """Core VAE nodes on video latents beside LaVie's."""
    vae, images = stage("base").vae, run("LaVieExampleVideo", num_frames=3)[0]
    latents = encode(images)
    whole = decode(latents)
    tiled = core.VAEDecodeTiled().decode(vae, {"samples": latents}, 64, 16)[0]
    return {
        "encode": relative(core.VAEEncode().encode(vae, images)[0]["samples"], latents),
        "encode_tiled": relative(core.VAEEncodeTiled().encode(vae, images, 512, 64)[0]["samples"], latents),
        "decode": (core.VAEDecode().decode(vae, {"samples": latents})[0] - whole).abs().max().item(),
        "decode_tiled": (tiled - decode(latents, tile=64)).abs().mean().item(),
        "shapes": [list(latents.shape), list(whole.shape), list(tiled.shape)],
    }


def vae_of_another_loader() -> dict[str, Any]:
    """ComfyUI's own VAE class (a TAESD with random weights) in LaVie's nodes."""
    noise = torch.Generator().manual_seed(0)
    weights = {n: torch.randn(t.shape, generator=noise) * 0.05 for n, t in TAESD().state_dict().items()}
    vae, images = comfy.sd.VAE(sd=weights), run("LaVieExampleVideo", num_frames=3)[0]
    latents = run("LaVieVAEEncode", images=images, vae=vae)[0]["samples"]
    frames = run("LaVieVAEDecode", samples={"samples": latents}, vae=vae)[0]
    return {
        "encode": relative(latents[0].transpose(0, 1), vae.encode(images)),
        "decode": relative(frames, vae.decode(latents[0].transpose(0, 1))),
        "shapes": [list(latents.shape), list(frames.shape)],
        "refused": refusal(lambda: run("LaVieVideoUpscaler", **wires("upscaler"), vae=vae, images=images)),
    }


CHECKS = (text, pictures, vae_of_another_loader)
