"""What is wired into a sampler and would have no effect there: refused in a sentence, before any work.

The tables hold for LaVie's own samplers and for core samplers with LaVie's MODEL. What they do not name acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..lavie.errors import UsageError
from ..lavie.stages import PLAIN
from . import host
from .adapters import OWN, PER_FRAME
from .control_kinds import refuse_foreign
from .patches import unknown

# What core samplers do and LaVie's do not: where it stands on a MODEL, and what LaVie's nodes have in its place.
GUIDANCE = "this node has cfg and guidance_rescale"
CORE_OPTIONS = {
    "sampler_cfg_function": GUIDANCE,
    "sampler_pre_cfg_function": GUIDANCE,
    "sampler_post_cfg_function": GUIDANCE,
    "sampler_calc_cond_batch_function": GUIDANCE,
    "model_function_wrapper": "",
    "denoise_mask_function": "",
    "context_handler": "LaVie Long Video Sampler makes long videos",
}
CORE_WRAPPERS = {
    "easycache": ("EasyCache", "this node has speed"),
    "lazycache": ("LazyCache", "this node has speed"),
    "torch.compile": ("TorchCompileModel", ""),
    "ContextWindows_sampler_sample": ("Context Windows", ""),
    "ContextWindows_prepare_sampling": ("Context Windows", ""),
}
CORE_OBJECTS = {"model_sampling": "this node has sampler and spacing"}
CORE_CALLBACKS = ("on_pre_run", "on_prepare_state", "on_cleanup", "on_apply_hooks", "on_register_all_hook_patches")
CORE_TEXT = {
    "area": "an area",
    "mask": "a mask",
    "start_percent": "some steps",
    "end_percent": "some steps",
    "clip_start_percent": "some steps",
    "clip_end_percent": "some steps",
    "timestep_start": "some steps",
    "timestep_end": "some steps",
    "strength": "a strength",
    "default": "where no other acts",
    "hooks": "hooks, such as a LoRA over some steps",
}

# What no sampler can do with LaVie's network, by the node, by the place that it asks for, by its key in a CONDITIONING.
NO_PART = "changes a part that LaVie's network does not have, so it would have no effect. Take it out."
NEVER = {
    "SelfAttentionGuidance": "is made for single images and does not work on video. Take it out.",
    "SkipLayerGuidanceDiT": NO_PART,
    "SkipLayerGuidanceDiTSimple": NO_PART,
    "SkipLayerGuidanceSD3": NO_PART,
}
NEVER_OBJECTS = {"manual_cast_dtype": "has no effect on LaVie. Take it out and choose dtype in LaVie Loader."}
NEVER_OPTIONS = {
    "rope_options": ("ScaleROPE", NO_PART),
    "optimized_attention_override": (
        "Another attention",
        "has no effect on LaVie, which uses PyTorch's. Take its node out.",
    ),
}
IP_ADAPTERS = "Attn2Replace"  # the class of their patches
IP_ADAPTER = (
    "IP-Adapter does not work with LaVie yet. Take its node out; to start from an image, use LaVie Image to Video."
)
NEVER_TEXT = {
    "gligen": "LaVie's network has no GLIGEN layers. Take GLIGENTextBoxApply out of the graph.",
}
ADDED_BY = {
    "unclip_conditioning": "unCLIPConditioning",
    "concat_latent_image": "InpaintModelConditioning or InstructPixToPixConditioning",
    "guidance": "FluxGuidance",
    "reference_latents": "ReferenceLatent",
}
# What every CONDITIONING may hold, and what only says how to use the rest.
NEUTRAL = ("pooled_output", "uuid", "model_conds", "cross_attn", "prompt_type", "set_area_to_bounds", "mask_strength")
NEUTRAL += (PER_FRAME, "control_apply_to_uncond")
UNLIMITED = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "clip_start_percent": 0.0}
UNLIMITED |= {"clip_end_percent": 1.0}


def refuse_unused(model: Any, conditionings: Mapping[str, Iterable[dict]], node: str | None = None) -> None:
    """Raise if something is wired that the sampler does not use.

    Args:
        model: LaVie's MODEL. conditionings: the options of every conditioning, by the name of its input.
        node: the title of LaVie's node that samples; None for a core sampler.

    Raises:
        UsageError: it is so.
    """
    for told in (*_never(model), *(_core_only(model, node) if node else ())):
        raise UsageError(told)
    for name, each in conditionings.items():
        for options in each:
            if options.get("control") is not None:
                refuse_foreign(options["control"], model.model.diffusion_model, model.model.lavie.stage)
            _refuse_text(name, options, node)


def _refuse_text(name: str, options: dict[str, Any], node: str | None) -> None:
    for key, value in options.items():
        if value is None or key in (*NEUTRAL, "control") or (isinstance(value, float) and value == UNLIMITED.get(key)):
            continue
        if key in NEVER_TEXT:
            raise UsageError(NEVER_TEXT[key])
        if key not in CORE_TEXT:
            raise UsageError(
                f"The {name} conditioning carries {key}, which LaVie's network does not use. Take "
                f"{ADDED_BY.get(key, 'the node that adds it')} out of the graph."
            )
        if node:
            raise UsageError(
                f"The {name} conditioning is limited to {CORE_TEXT[key]}, which only the core KSampler can do."
            )


def _never(model: Any) -> Iterator[str]:
    options = getattr(model, "model_options", {})
    inner = options.get("transformer_options", {})
    for function in _functions(options[key] for key in CORE_OPTIONS if options.get(key)):
        if _maker(function) in NEVER:
            yield f"{_title(function)} {NEVER[_maker(function)]}"
    for place, patches in unknown(inner).items():
        yield f"{_title(patches[0]) if patches else place} {NO_PART}"
    for key, (title, told) in NEVER_OPTIONS.items():
        if inner.get(key):
            yield f"{title} {told}"
    for key, thing in getattr(model, "object_patches", {}).items():
        if key in NEVER_OBJECTS:
            yield f"{_title(thing, 'ModelComputeDtype')} {NEVER_OBJECTS[key]}"
    for patch in inner.get("patches_replace", {}).get("attn2", {}).values():
        if type(patch).__name__ == IP_ADAPTERS or "ipadapter" in str(patch.__module__).lower().replace("_", ""):
            yield IP_ADAPTER


def _core_only(model: Any, node: str) -> Iterator[str]:
    for title, instead in _core_wires(model):
        otherwise = [f"({instead})"] if instead else []
        if model.model.diffusion_model.config.in_channels == PLAIN:
            otherwise.append("or sample with KSampler")
        yield f"{' '.join([f'{title} works with core samplers only, not in {node}. Take it out', *otherwise])}."


def _core_wires(model: Any) -> Iterator[tuple[str, str]]:
    """What only core samplers use: the title of its node, and what LaVie's have instead."""
    options = getattr(model, "model_options", {})
    inner = options.get("transformer_options", {})
    for key, instead in CORE_OPTIONS.items():
        for function in _functions([options[key]] if options.get(key) else ()):
            yield "Context Windows" if key == "context_handler" else _title(function), instead
    for key, thing in getattr(model, "object_patches", {}).items():
        yield _title(thing, key), CORE_OBJECTS.get(key, "")
    for by_key in (*getattr(model, "wrappers", {}).values(), *inner.get("wrappers", {}).values()):
        for key, functions in by_key.items():
            if functions and key != OWN:
                yield CORE_WRAPPERS.get(str(key), (_title(functions[0], str(key)), ""))
    callbacks = (getattr(model, "callbacks", {}), inner.get("callbacks", {}))
    for functions in (each for of in callbacks for kind in CORE_CALLBACKS for each in of.get(kind, {}).values()):
        for function in functions:
            yield _title(function), ""
    for key, models in getattr(model, "additional_models", {}).items():
        if models:
            yield f"What comes with {key}", ""


def _functions(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, list) else [value]


def _maker(thing: Any) -> str:
    """The class of the node that made it, by where it was defined: FreeU.patch.<locals>.output_block_patch."""
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return name.split(".")[0]


def _title(thing: Any, otherwise: str = "") -> str:
    """The title of the node that made a patch; where it is no node's own, `otherwise`, or its own name."""
    maker = _maker(thing)
    return host.node_title(maker) or otherwise or f"A patch named {maker}"
