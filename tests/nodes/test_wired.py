"""What is wired into a sampler and would have no effect there is refused in a sentence, before any work."""

from types import SimpleNamespace

import pytest
import torch
from support.graph import clip_of, interpolate, network, part, refused, sample, stage


class PatchNode:
    """Its functions are named as those of a node are."""

    @staticmethod
    def function():
        return lambda args: args

    @staticmethod
    def named(node):
        function = PatchNode.function()
        function.__qualname__ = f"{node}.patch.<locals>.{function.__name__}"
        return function


def wired(stage_name="base", options=None, **attributes):
    """The MODEL of a stage with what a node leaves on it."""
    model = stage(stage_name).model
    given = {"model_options": options or {}, **attributes}
    return SimpleNamespace(model=model.model, load_device=model.load_device, **given)


def inner(**options):
    return {"transformer_options": options}


ANY = PatchNode.named("RescaleCFG")
MODELS = {
    "sampler_cfg_function": (
        {"sampler_cfg_function": ANY},
        {},
        "RescaleCFG works with core samplers.*guidance_rescale",
    ),
    "sampler_pre_cfg_function": ({"sampler_pre_cfg_function": [ANY]}, {}, "this node has cfg"),
    "sampler_post_cfg_function": ({"sampler_post_cfg_function": [ANY]}, {}, "this node has cfg"),
    "sampler_calc_cond_batch_function": ({"sampler_calc_cond_batch_function": ANY}, {}, "or sample with KSampler"),
    "model_function_wrapper": ({"model_function_wrapper": ANY}, {}, "LaVie Base Sampler"),
    "denoise_mask_function": ({"denoise_mask_function": ANY}, {}, "LaVie Base Sampler"),
    "context windows": ({"context_handler": ANY}, {}, "Context Windows.*LaVie Long Video Sampler"),
    "a noise schedule": ({}, {"object_patches": {"model_sampling": object()}}, "sampler and spacing"),
    "a precision": ({}, {"object_patches": {"manual_cast_dtype": torch.float16}}, "choose dtype in LaVie Loader"),
    "EasyCache": ({}, {"wrappers": {"outer_sample": {"easycache": [ANY]}}}, "EasyCache.*this node has speed"),
    "LazyCache": ({}, {"wrappers": {"predict_noise": {"lazycache": [ANY]}}}, "LazyCache.*this node has speed"),
    "torch.compile": ({}, {"wrappers": {"apply_model": {"torch.compile": [ANY]}}}, "TorchCompileModel"),
    "a wrapper of a pack": ({}, {"wrappers": {"outer_sample": {"AnimateDiff": [ANY]}}}, "AnimateDiff"),
    "a wrapper among the options": (
        inner(wrappers={"outer_sample": {"k": [ANY]}}),
        {},
        "works with core samplers only",
    ),
    "a callback": ({}, {"callbacks": {"on_pre_run": {"k": [ANY]}}}, "works with core samplers only"),
    "more models": ({}, {"additional_models": {"motion": [object()]}}, "comes with motion"),
    "a patch of another network": (inner(patches={"double_block": [ANY]}), {}, "does not have"),
    "a replaced block of another network": (inner(patches_replace={"dit": {("block", 1): ANY}}), {}, "does not have"),
    "rotary positions": (inner(rope_options={"scale_x": 2.0}), {}, "ScaleROPE"),
    "another attention": (inner(optimized_attention_override=ANY), {}, "Another attention has no effect"),
    "self-attention guidance": (
        {"sampler_post_cfg_function": [PatchNode.named("SelfAttentionGuidance")]},
        {},
        "single images",
    ),
    "skipped layers": (
        {"sampler_post_cfg_function": [PatchNode.named("SkipLayerGuidanceDiT")]},
        {},
        "does not have",
    ),
}


def control_of(**parts):
    """A control object as the host makes it, with these parts."""
    return SimpleNamespace(previous_controlnet=None, cond_hint_original=torch.zeros(1, 3, 16, 16), **parts)


class IPAdapterAttention:
    """As the packs call theirs."""


IPAdapterAttention.__module__ = "ComfyUI_IPAdapter_plus.CrossAttentionPatch"


@pytest.mark.parametrize("name", MODELS)
def test_what_lavies_samplers_cannot_do_with_a_model_is_refused_before_the_network_runs(name, monkeypatch):
    options, attributes, message = MODELS[name]
    monkeypatch.setattr(network("base"), "forward", None)
    refused(lambda: sample(model=wired(options=options, **attributes)), message)


def test_only_stages_that_ksampler_takes_are_sent_there():
    model = wired("interpolation", {"sampler_cfg_function": ANY})
    refused(lambda: interpolate(clip_of(2, 16, 16), model=model), r"LaVie Frame Interpolation\. Take it out[^K]*$")


def test_ip_adapters_are_refused_in_words():
    model = wired(options=inner(patches_replace={"attn2": {("input", 1): IPAdapterAttention()}}))
    refused(lambda: sample(model=model), "IP-Adapter does not work with LaVie yet")


def test_what_the_host_itself_leaves_on_a_model_is_taken():
    own = {"wrappers": {"prepare_sampling": {"lavie": [ANY]}}, "callbacks": {"on_clone": {"k": [ANY]}}}
    before = sample(steps=1)
    assert torch.equal(sample(model=wired(options={"transformer_options": {}}, **own), steps=1), before)


TEXTS = {
    "area": ((4, 4, 0, 0), "limited to an area"),
    "mask": (torch.ones(1, 8, 8), "limited to a mask"),
    "start_percent": (0.5, "limited to some steps"),
    "end_percent": (0.5, "limited to some steps"),
    "strength": (0.5, "limited to a strength"),
    "hooks": (object(), "LoRA over some steps"),
    "default": (True, "only the core KSampler"),
    "control": (control_of(), "made for another kind of model"),
    "gligen": (("position", None, []), "GLIGEN"),
    "guidance": (3.5, "carries guidance, which LaVie's network does not use. Take FluxGuidance out"),
    "reference_latents": ([torch.zeros(1)], "carries reference_latents"),
}


@pytest.mark.parametrize("key", TEXTS)
def test_what_a_conditioning_carries_is_refused_unless_it_is_used(key):
    value, message = TEXTS[key]
    base = stage("base")
    conditioning = [[base.positive[0][0], {"pooled_output": None, key: value}]]
    refused(lambda: sample(positive=conditioning), message)
    refused(lambda: sample(negative=conditioning), message)


def test_limits_that_limit_nothing_are_taken():
    free = {"pooled_output": None, "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "control": None}
    conditioning = [[stage("base").positive[0][0], free]]
    assert torch.equal(sample(positive=conditioning, steps=1), sample(steps=1))


def test_core_samplers_refuse_only_what_they_cannot_do_either():
    refuse_unused = part("nodes.wired").refuse_unused
    for options, attributes in (
        ({"sampler_cfg_function": ANY, "context_handler": ANY}, {}),
        ({}, {"wrappers": {"outer_sample": {"easycache": [ANY]}}, "object_patches": {"model_sampling": object()}}),
    ):
        refuse_unused(wired(options=options, **attributes), {"positive": [{"area": (4, 4, 0, 0), "hooks": object()}]})
    refused(lambda: refuse_unused(wired(), {"positive": [{}, {"control": control_of()}]}), "another kind of model")
    refused(lambda: refuse_unused(wired(options=inner(patches={"double_block": [ANY]})), {}), "does not have")
