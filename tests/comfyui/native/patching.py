"""LaVie's MODEL and CLIP patched by LoRA loaders, and a MODEL that is loaded in part."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.lora
import comfy.model_detection
import comfy.model_management
import comfy.sd1_clip
import folder_paths
import torch
from figures import ksampler, on_node, relative
from safetensors.torch import load_file, save_file
from support.graph import part, run, sample, stage
from support.pack import ROOT
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

import nodes as core

TEXT = "text_encoder."
STAGES = ("base", "interpolation", "upscaler", "extension")


def lora_files() -> SimpleNamespace:
    """The bundled LoRA as core Load LoRA finds it; the same with a temporal layer in it."""
    folder = Path(folder_paths.get_folder_paths("loras")[0])
    folder.mkdir(parents=True, exist_ok=True)
    bundled = next((ROOT / "lavie" / "weights" / "tiny" / "loras").glob("*.safetensors"))
    tensors = load_file(bundled)
    save_file(tensors, folder / "sunset.safetensors")
    name = next(name for name in tensors if "attn2_to_q" in name and name.endswith("lora_down.weight"))
    rank, width = tensors[name].shape
    temporal = name.replace("attn2_to_q", "attn_temp_to_q").removesuffix(".lora_down.weight")
    extra = {f"{temporal}.lora_down.weight": torch.ones(rank, width), f"{temporal}.alpha": torch.tensor(1.0)}
    extra[f"{temporal}.lora_up.weight"] = torch.ones(width, rank)
    save_file({**tensors, **extra}, folder / "temporal.safetensors")
    return SimpleNamespace(
        bundled=f"lavie-tiny/{bundled.name}", own="sunset.safetensors", temporal="temporal.safetensors"
    )


def ours(name: str, model_strength: float = 1.0, clip_strength: float = 1.0, **strengths: str) -> tuple[Any, Any]:
    base = stage("base")
    names = {"lora_name": name, "strength_model": model_strength, "strength_clip": clip_strength}
    return run("LaVieLoraLoader", model=base.model, clip=base.clip, **names, **strengths)


def weights(patcher: Any) -> dict[str, Tensor]:
    """All weights as they are with the patches; afterwards the network is as before."""
    comfy.model_management.unload_all_models()
    patcher.patch_model(device_to=torch.device("cpu"))
    found = {name: tensor.clone() for name, tensor in patcher.model.state_dict().items()}
    patcher.unpatch_model(torch.device("cpu"))
    return found


def differing(some: dict[str, Tensor], others: dict[str, Tensor]) -> list[str]:
    assert some.keys() == others.keys()
    return [name for name in some if not torch.equal(some[name], others[name])]


def lora() -> dict[str, Any]:
    base, files = stage("base"), lora_files()
    plain = [weights(base.model), weights(base.clip.patcher)]
    theirs = core.LoraLoader().load_lora(base.model, base.clip, files.own, 1.0, 1.0)
    patched = [weights(theirs[0]), weights(theirs[1].patcher)]
    by_us = ours(files.own)
    bundled = ours(files.bundled)
    with on_node("3") as said:
        temporal = weights(ours(files.temporal)[0])
    stacked = run("LaVieLoraLoader", model=by_us[0], clip=by_us[1], lora_name=files.own, strength_model=-1.0)
    return {
        "changed": len(differing(patched[0], plain[0])),
        "changed_temporal": [name for name in differing(temporal, plain[0]) if "temp" in name],
        "with_temporal_file": differing(temporal, patched[0]),
        "said_of_temporal_file": said,
        "against_core": differing(weights(by_us[0]), patched[0]) + differing(weights(by_us[1].patcher), patched[1]),
        "bundled": differing(weights(bundled[0]), patched[0]),
        "strength_0": differing(weights(ours(files.own, 0.0, 0.0)[0]), plain[0]),
        "plus_minus": max((weights(stacked[0])[n] - plain[0][n]).abs().max().item() for n in plain[0]),
        "afterwards": differing(weights(base.model), plain[0]) + differing(weights(base.clip.patcher), plain[1]),
        "clip_wired_out": run("LaVieLoraLoader", model=base.model, lora_name=files.own)[1] is None,
    }


def lora_in_the_image() -> dict[str, float]:
    """Samplers with and without; the MODEL without is as before."""
    files = lora_files()
    before, theirs_before = sample(), ksampler()
    model = ours(files.own)[0]
    return {
        "base_sampler": relative(sample(model=model), before),
        "ksampler": relative(ksampler(model), theirs_before),
        "afterwards": relative(sample(), before),
        "ksampler_afterwards": relative(ksampler(), theirs_before),
    }


def lora_strengths() -> dict[str, Any]:
    """By block and over the steps: what is patched, and that a LoRA beside the weights does what one in them does."""
    name, base = lora_files().own, stage("base")
    plain = weights(base.model)
    deep = differing(weights(ours(name, blocks="MID=1, OTHER=0")[0]), plain)
    half, halved = (weights(ours(name, **options)[0]) for options in ({"model_strength": 0.5}, {"blocks": "OTHER=0.5"}))
    constant = ours(name, over_steps="0: 1, 1: 1")[0]
    theirs = ksampler(ours(name)[0])
    return {
        "blocks": sorted({key.split(".")[1] for key in deep}),
        "halved": max(relative(halved[key], half[key]) for key in half),
        "weights_over_steps": differing(weights(constant), plain),
        "constant": relative(sample(model=constant), sample(model=ours(name)[0])),
        "constant_ksampler": relative(ksampler(constant), theirs),
        "none": relative(sample(model=ours(name, over_steps="0: 0")[0]), sample()),
        "late": relative(ksampler(ours(name, over_steps="LATE")[0]), theirs),
    }


def low_vram() -> dict[str, Any]:
    """The prediction of a MODEL of which a part only is on the device, with and without a LoRA."""
    base, cpu = stage("base"), torch.device("cpu")
    x, sigma = torch.randn(2, 4, 4, 4, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([5.0, 5.0])
    context = torch.cat((base.negative[0][0], base.positive[0][0]))
    found: dict[str, Any] = {}
    for name, model in {"plain": base.model, "lora": ours(lora_files().own)[0]}.items():
        comfy.model_management.unload_all_models()
        predictions = []
        for memory in (0, 3 * 2**20):
            model.patch_model(device_to=cpu, lowvram_model_memory=memory)
            with torch.no_grad():
                predictions.append(model.model.apply_model(x, sigma, c_crossattn=context))
            if memory:
                modules = list(model.model.modules())
                found[f"{name}_cast_layers"] = sum(hasattr(m, "prev_comfy_cast_weights") for m in modules)
                found[f"{name}_weight_functions"] = sum(len(getattr(m, "weight_function", ())) for m in modules)
                found[f"{name}_loaded"] = model.model.model_loaded_weight_memory / model.model_size()
            model.unpatch_model(cpu)
        found[name] = relative(predictions[1], predictions[0])
        found[f"{name}_prediction"] = predictions[0].norm().item()
    return found


def lora_on_stable_diffusion() -> dict[str, Any]:
    """A LoRA of LaVie's trainer for the released base, by its names and shapes, on core's own Stable Diffusion 1.x."""
    models, to_kohya = part("lavie.models"), part("lavie.lora").to_kohya
    settings = part("lavie.training.layers")
    with torch.device("meta"):
        ours = models.build_unet(models.UNetConfig())
        text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12))
    config = comfy.model_detection.model_config_from_diffusers_unet(ours.state_dict())
    config.set_inference_dtype(torch.float32, None)
    theirs = config.get_model({}, device=torch.device("meta"))
    clip = comfy.sd1_clip.SD1ClipModel(device="meta", dtype=torch.float32)
    keys = comfy.lora.model_lora_keys_clip(clip, comfy.lora.model_lora_keys_unet(theirs, {}))
    shapes = {name: tensor.shape for model in (theirs, clip) for name, tensor in model.state_dict().items()}
    figures, learnt = (
        {"model": type(config).__name__},
        [(ours, settings.TARGETS["all"], ""), (text, settings.TEXT_TARGETS, TEXT)],
    )
    for network, pattern, prefix in learnt:
        tensors, expected = {}, {}
        for name, module in network.named_modules():
            if re.fullmatch(pattern, name):
                layer = next(iter(to_kohya(adapter(f"{prefix}{name}", module)))).partition(".")[0]
                tensors |= to_kohya(adapter(f"{prefix}{name}", module))
                expected[keys[layer]] = module.weight.shape
        loaded = comfy.lora.load_lora(tensors, keys, log_missing=False)
        figures[f"{prefix}layers"], figures[f"{prefix}loaded"] = len(expected), len(loaded)
        figures[f"{prefix}other_shapes"] = [key for key, shape in expected.items() if shapes[key] != shape]
    return figures


def adapter(name: str, module: torch.nn.Module) -> dict[str, Tensor]:
    out, inner, *kernel = module.weight.shape
    down, up = torch.zeros(1, inner, *kernel), torch.zeros(out, 1, *[1] * len(kernel))
    return {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}


def weights_on_the_way() -> dict[str, Any]:
    """Every weight of every stage, multiplied by a function that the host applies when a layer uses it: against the
    same network with weights so multiplied, whole and in slices of its feature maps."""
    found: dict[str, Any] = {"not_the_hosts": []}
    for name in STAGES:
        network = run("LaVieLoader", stage=name)[0].model.diffusion_model
        layers = {each: module for each, module in network.named_modules() if list(module.parameters(recurse=False))}
        found["not_the_hosts"] += [each for each, module in layers.items() if not hasattr(module, "comfy_cast_weights")]
        on_the_way, in_place = {}, {}
        for module in layers.values():
            module.weight_function, module.bias_function = [lambda weight: 1.1 * weight], [lambda bias: 0.9 * bias]
        for elements in (None, 500):
            network.slice_elements = elements
            on_the_way[elements] = predict(network)
        for module in layers.values():
            module.weight_function, module.bias_function = [], []
            module.weight.mul_(1.1)
            if module.bias is not None:
                module.bias.mul_(0.9)
        for elements in (None, 500):
            network.slice_elements = elements
            in_place[elements] = predict(network)
        found[name] = [relative(on_the_way[each], in_place[each]) for each in in_place]
    return found


def predict(network: Any) -> Tensor:
    config, generator = network.config, torch.Generator().manual_seed(1)
    x = torch.randn(1, config.in_channels, 3, 8, 8, generator=generator)
    context = torch.randn(1, 7, config.cross_attention_dim, generator=generator)
    labels = torch.tensor([20]) if config.num_class_embeds else None
    return network(x, torch.tensor([500]), context, labels)


def loaded_once_more() -> dict[str, Any]:
    """A MODEL on another card, as MultiGPU CFG Split and Select Model Device of newer hosts make it."""
    model = ours(lora_files().own)[0]
    if not hasattr(model, "deepclone_multigpu"):
        return {"offered": False}
    other = model.deepclone_multigpu()
    mine, theirs = weights(model), weights(other)
    return {
        "offered": True,
        "same_network": other.model is model.model,
        "differing": differing(mine, theirs),
        "kept": [type(other) is type(model), other.model.lavie == model.model.lavie, sorted(map(str, other.wrappers))],
    }


CHECKS = (
    lora,
    lora_in_the_image,
    lora_strengths,
    low_vram,
    lora_on_stable_diffusion,
    weights_on_the_way,
    loaded_once_more,
)
