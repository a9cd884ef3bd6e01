"""LaVie's MODEL in core samplers: the same clip as by LaVie's own, previews, Cancel, masks."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import comfy.model_management
import comfy.utils
import latent_preview
import torch
from comfy.cli_args import LatentPreviewMethod, args
from comfy_extras import nodes_custom_sampler, nodes_freelunch, nodes_model_advanced, nodes_pag
from figures import SCALE, SEED, STEPS, empty, ksampler, output_of, psnr, refusal, relative
from PIL import Image
from support.graph import decode, encode, part, run, sample, stage, wires
from support.images import alike_neighbours
from torch import Tensor

import nodes as core


def ksampler_equals_the_base_sampler() -> dict[str, float]:
    """At the model's own size and 20 steps. The one difference: LaVie's ddim ends at ᾱ₀, ComfyUI's at 1."""
    estimates: dict[str, Tensor] = {}
    progress = part("nodes.host").Progress
    step = progress.step

    def kept(self: Any, stage: str, done: int, total: int, timestep: float = 0.0, x0: Tensor | None = None) -> None:
        estimates.update({"ours": x0} if x0 is not None else {})
        step(self, stage, done, total, timestep, x0)

    progress.step = kept
    settings = {"seed": SEED, "steps": STEPS, "guidance_scale": SCALE, "sampler": "ddim", "spacing": "leading"}
    ours = run("LaVieBaseSampler", **wires("base"), **settings)[0]["samples"]
    progress.step = step
    latent = empty(width=0, height=0, num_frames=0, model=stage("base").model)

    def prepared(*args: Any, **kwargs: Any) -> Callable[..., None]:
        return lambda step, x0, x, total: estimates.update(theirs=x0)

    original, latent_preview.prepare_callback = latent_preview.prepare_callback, prepared
    theirs = ksampler(steps=STEPS, latent_image=latent)
    latent_preview.prepare_callback = original
    images, frames = core.VAEDecode().decode(stage("base").vae, {"samples": theirs})[0], decode(ours)
    return {
        "psnr": psnr(images, frames),
        "levels": (images - frames).abs().max().item() * 255,
        "latents": relative(ours, theirs),
        "x0": relative(estimates["ours"], estimates["theirs"]),
    }


def other_samplers() -> dict[str, Any]:
    """Deviation of the latents (a good clip's is 2 to 6) and how smooth the clip is, by sampler and schedule."""
    made = {
        f"{sampler} {scheduler}": ksampler(sampler=sampler, scheduler=scheduler, steps=12)
        for sampler, scheduler in (
            ("euler", "normal"),
            ("euler_ancestral", "simple"),
            ("dpmpp_2m", "karras"),
            ("dpmpp_2m_sde", "exponential"),
            ("uni_pc", "normal"),
            ("heun", "sgm_uniform"),
        )
    }
    model = stage("base").model
    sigmas = output_of(nodes_custom_sampler.BasicScheduler, "get_sigmas", model, "karras", 12, 1.0)
    sampler = output_of(nodes_custom_sampler.KSamplerSelect, "get_sampler", "dpmpp_2m")
    custom = output_of(
        nodes_custom_sampler.SamplerCustom,
        "sample",
        model,
        True,
        SEED,
        SCALE,
        *(stage("base").positive, stage("base").negative),
        *(sampler, sigmas, empty()),
    )["samples"]
    return {
        "deviation": {name: value.std().item() for name, value in made.items()},
        "alike_neighbours": {name: alike_neighbours(decode(value)) for name, value in made.items()},
        "custom_equals_ksampler": relative(custom, made["dpmpp_2m karras"]),
    }


def batches_masks_and_image_latents() -> dict[str, Any]:
    """What else a LATENT may hold, through the core KSampler."""
    alone, both = ksampler(), ksampler(latent_image=empty(batch_size=2))
    mask = torch.ones(1, 32, 48)
    mask[..., :24] = 0
    clip = ksampler(sampler="euler")
    painted = ksampler(latent_image={"samples": clip, "noise_mask": mask})
    flat = ksampler(latent_image={"samples": torch.zeros(1, 4, 4, 6)})
    video = encode(run("LaVieExampleVideo", num_frames=4)[0])
    repainted = [relative(ksampler(latent_image={"samples": video}, denoise=d), video) for d in (0.1, 0.5)]
    return {
        "batch": list(both.shape),
        "first_of_batch": relative(both[:1], alone),
        "kept": (painted - clip)[..., :2].abs().max().item(),
        "painted": (painted - clip)[..., 4:].abs().mean().item(),
        "image_latents": list(flat.shape),
        "denoise": repainted,
    }


def wrong_stage() -> dict[str, str]:
    """What KSampler says of the other stages' MODELs and of another encoder's text."""
    told = {}
    wide = [[torch.zeros(1, 77, 768), {}]]
    for name, given in {
        "interpolation": wires("interpolation"),
        "upscaler": wires("upscaler"),
        "text": {"positive": wide},
    }.items():
        told[name] = refusal(partial(ksampler, **given))
    return told


def patches() -> dict[str, Any]:
    """How far model patches move the result, one of them in LaVie's own sampler, too."""
    model, plain = stage("base").model, ksampler()
    patched = {
        "RescaleCFG": output_of(nodes_model_advanced.RescaleCFG, "patch", model, 0.7),
        "ModelSamplingDiscrete": output_of(
            nodes_model_advanced.ModelSamplingDiscrete, "patch", model, "v_prediction", True
        ),
        "PerturbedAttentionGuidance": output_of(nodes_pag.PerturbedAttentionGuidance, "patch", model, 3.0),
        "FreeU": output_of(nodes_freelunch.FreeU, "patch", model, 1.1, 1.2, 0.9, 0.2),
    }
    moved = {name: relative(ksampler(each), plain) for name, each in patched.items()}
    by_us, with_free_u = sample(), sample(model=patched["FreeU"])
    return {**moved, "LaVie Base Sampler": relative(with_free_u, by_us), "none": relative(ksampler(), plain)}


def cancel() -> dict[str, Any]:
    """The host's own Cancel in the middle of a UNet call; afterwards all is as before."""
    unet, before = stage("base").model.model.diffusion_model, sample()
    hook = unet.mid_block.register_forward_hook(lambda *_: comfy.model_management.interrupt_current_processing())
    calls = []
    counter = unet.register_forward_pre_hook(lambda *_: calls.append(1))
    try:
        sample(steps=6)
        error = "none"
    except comfy.model_management.InterruptProcessingException as stopped:
        error = type(stopped).__name__
    hook.remove()
    counter.remove()
    left = sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in unet.modules())
    return {"error": error, "calls": len(calls), "hooks": left, "afterwards": relative(sample(), before)}


def preview() -> dict[str, Any]:
    """Latent2RGB of a finished clip beside its first frame, as small as the preview; both 0…1."""
    base = stage("base")
    latents = sample(steps=12, **{"width": 96, "height": 64})
    previewer = latent_preview.get_previewer(base.model.load_device, base.model.model.latent_format)
    scaled = base.model.model.latent_format.process_in(latents)
    _, image, _ = previewer.decode_latent_to_preview_image("JPEG", scaled)
    shown = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    shown = shown.view(image.height, image.width, 3) / 255
    frame = decode(latents)[0].unflatten(1, (-1, 8)).unflatten(0, (-1, 8)).mean((1, 3))
    return {"size": list(image.size), "difference": (shown - frame).abs().mean().item(), "spread": frame.std().item()}


def moving_previews() -> dict[str, list[Any]]:
    """Format and frames of what the page is sent: by both ways of sampling, and with previews switched off."""
    sent: list[Any] = []

    def page(_value: int, _total: int, preview: Any, node_id: str | None = None) -> None:
        if preview is not None:
            kind, image, _ = preview
            file = io.BytesIO()
            image.save(file, format=kind, quality=95, compress_level=1)
            sent.append([kind, getattr(Image.open(file), "n_frames", 1)])

    comfy.utils.set_progress_bar_global_hook(page)
    found = {}
    for name, clip in {"KSampler": ksampler, "LaVie Base Sampler": sample}.items():
        clip(steps=2)
        found[name] = sent[:]
        sent.clear()
    method, args.preview_method = args.preview_method, LatentPreviewMethod.NoPreviews
    ksampler(steps=2)
    sample(steps=2)
    args.preview_method = method
    comfy.utils.set_progress_bar_global_hook(None)
    return {**found, "off": sent}


def prediction_of_clean_latents() -> dict[str, float]:
    """A base that predicts the clean latents: what ComfyUI's model denoises to is what the network puts out."""
    base, host = stage("base"), part("nodes.host")
    info, unet = base.model.model.lavie, copy.deepcopy(base.model.model.diffusion_model)
    config = replace(info.config, prediction_type="sample")
    model = host.make_model(unet, replace(info, config=config), part("nodes.wired").refuse_unused).model
    x, sigma = torch.randn(1, 4, 4, 4, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([5.0])
    text = base.positive[0][0]
    with torch.no_grad():
        denoised = model.apply_model(x, sigma, c_crossattn=text)
        sampling = model.model_sampling
        raw = unet(sampling.calculate_input(sigma, x), sampling.timestep(sigma), text)
    return {"difference": relative(denoised, raw), "norm": raw.norm().item()}


CHECKS = (
    ksampler_equals_the_base_sampler,
    prediction_of_clean_latents,
    other_samplers,
    batches_masks_and_image_latents,
    wrong_stage,
    patches,
    cancel,
    preview,
    moving_previews,
)
