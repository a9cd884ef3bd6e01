"""The host's ControlNets and T2I-Adapters on LaVie's MODEL, in core samplers and in LaVie's own."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import torch
from figures import ksampler, output_of, psnr, relative
from support.graph import decode, part, sample, stage
from support.host_control import TEXT, adapter, control_net, image_unet, model
from torch import Tensor

import nodes as core

HINT = {"height": 32, "width": 48}


def hint(frames: int = 1, seed: int = 5) -> Tensor:
    """IMAGE."""
    return torch.rand(frames, HINT["height"], HINT["width"], 3, generator=torch.Generator().manual_seed(seed))


def texts() -> tuple[list, list]:
    return stage("base").positive, stage("base").negative


def applied(net: Any, image: Tensor, strength: float = 1.0, start: float = 0.0, end: float = 1.0, onto: Any = None):
    """Both conditionings, by the core node."""
    positive, negative = onto or texts()
    node = core.ControlNetApplyAdvanced()
    positive, negative = node.apply_controlnet(positive, negative, net, image, strength, start, end)
    return {"positive": positive, "negative": negative}


by_core = partial(ksampler, sampler="euler", scheduler="normal", steps=4)


def by_core_with(**wired: Any) -> Tensor:
    return by_core(model=model(), **wired)


def by_ours(**wired: Any) -> Tensor:
    return sample(model=model(), **wired)


def network_of_one_frame() -> dict[str, float]:
    """LaVie's network on one frame and the host's on an image, with the residuals of a ControlNet and of an adapter."""
    x = torch.randn(2, 4, 16, 24, generator=torch.Generator().manual_seed(1))
    text = torch.randn(2, 77, TEXT, generator=torch.Generator().manual_seed(2))
    t, figures = torch.tensor([500.0, 500.0]), {}
    unet = model().model.diffusion_model
    image = torch.rand(2, 3, 128, 192, generator=torch.Generator().manual_seed(3))
    added = control_net().control_model(x=x, hint=image, timesteps=t, context=text)
    features = adapter().t2i_model(image)["input"]
    for name, control in {
        "none": {},
        "control_net": added,
        "adapter": {"input": features},
        "both": {**added, "input": features},
    }.items():
        lists = {key: list(parts) for key, parts in control.items()}  # the host's network takes them out
        theirs = image_unet()(x, t, context=text, control=lists or None)
        ours = unet(x[:, :, None], t, text, control=control or None)[:, :, 0]
        figures[name] = relative(ours, theirs)
        figures[f"{name}_moves"] = relative(theirs, image_unet()(x, t, context=text))
    return figures


def samplers() -> dict[str, Any]:
    """How far controls move the clip, in KSampler and in LaVie Base Sampler, and what must not move it."""
    figures: dict[str, Any] = {}
    plain_inputs = (texts()[0], control_net(), hint(), 1.0)
    for name, make in {"core": by_core_with, "ours": by_ours}.items():
        plain = make()
        moves = {
            "control_net": applied(control_net(), hint()),
            "half": applied(control_net(), hint(), 0.5),
            "video": applied(control_net(), hint(4)),
            "first_steps": applied(control_net(), hint(), end=0.6),
            "last_steps": applied(control_net(), hint(), start=0.4),
            "adapter": applied(adapter(), hint(4)),
            "two": applied(adapter(), hint(4), onto=tuple(applied(control_net(), hint()).values())),
            "plain_node": {"positive": output_of(core.ControlNetApply, "apply_controlnet", *plain_inputs)},
        }
        made = {key: make(**wired) for key, wired in moves.items()}
        figures[name] = {key: relative(value, plain) for key, value in made.items()}
        figures[f"{name}_same"] = {
            "strength_0": relative(make(**applied(control_net(), hint(), 0.0)), plain),
            "held": relative(make(**applied(control_net(), hint().expand(4, -1, -1, -1))), made["control_net"]),
            "plain_node": relative(made["plain_node"], made["control_net"]),
            "afterwards": relative(make(), plain),
        }
    return figures


def by_lavies_loader() -> dict[str, float]:
    """LaVie Base Sampler with the host's control object, and with LaVie's own loader of the same ControlNet."""
    networks, hinted, sampler = part("lavie.control.networks"), part("lavie.control.hinted"), part("nodes.sampler")
    unet = model().model.diffusion_model
    tensors = control_net().control_model.state_dict()
    network = networks.network_of(tensors, unet.config, "the host's")
    images = (hint(4) * 255).round() / 255
    own = hinted.HintedControl(network, (images * 255).round().to(torch.uint8).permute(0, 3, 1, 2))
    theirs = by_ours(**applied(control_net(), images))
    wired, sampler.wired_controls = sampler.wired_controls, lambda *_: (own,)
    of_hosts, sampler.networks = sampler.networks, lambda _: []
    running, sampler.running = sampler.running, lambda *_: contextlib.nullcontext()
    try:
        ours = by_ours()
    finally:
        sampler.wired_controls, sampler.networks, sampler.running = wired, of_hosts, running
    return {
        "latents": relative(ours, theirs),
        "psnr": psnr(decode(ours), decode(theirs)),
        "moves": relative(ours, by_ours()),
    }


CHECKS = (network_of_one_frame, samplers, by_lavies_loader)
