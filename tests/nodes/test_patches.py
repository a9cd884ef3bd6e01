"""Model patches of ComfyUI's nodes find in LaVie's UNet the places that they know from Stable Diffusion 1.x."""

from types import SimpleNamespace

import pytest
import torch
from support.graph import network, sample, stage
from torch.nn.functional import scaled_dot_product_attention

FRAMES = 4


def patched(patches=None, replace=None, **options):
    """The base MODEL with `transformer_options`, as set_model_patch and set_model_patch_replace leave them."""
    base = stage("base").model
    inner = {"patches": patches or {}, "patches_replace": replace or {}, **options}
    return SimpleNamespace(model=base.model, load_device=base.load_device, model_options={"transformer_options": inner})


def left_over():
    modules = list(network("base").modules())
    hooks = sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in modules)
    return hooks + sum("forward" in module.__dict__ for module in modules)


def attention(q, k, v, extra):
    """What a replacement does that changes nothing."""
    heads = extra["n_heads"]
    q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (q, k, v))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def test_block_patches_see_every_block_once_in_the_order_of_stable_diffusion():
    seen = []

    def on_input(h, options):
        seen.append((options["block"], tuple(h.shape)))
        return h

    def on_output(h, skip, options):
        assert h.shape[2:] == skip.shape[2:]
        seen.append((options["block"], tuple(h.shape)))
        return h, skip

    model = patched({"input_block_patch": [on_input], "output_block_patch": [on_output]})
    made = sample(model=model, steps=1, height=64, width=64)
    blocks = [block for block, _ in seen]
    assert blocks == [("input", i) for i in range(6)] + [("output", i) for i in range(6)]  # three levels of one
    channels = network("base").config.block_out_channels
    assert seen[0][1] == (2 * FRAMES, channels[0], 8, 8)
    assert seen[6][1] == (2 * FRAMES, channels[-1], 2, 2)
    torch.testing.assert_close(made, sample(steps=1, height=64, width=64), atol=1e-4, rtol=1e-4)
    assert left_over() == 0


@pytest.mark.parametrize("name", ["attn1", "attn2"])
@pytest.mark.parametrize("place", [("middle", 0), ("input", 1), ("output", 5, 0)])
def test_a_replaced_attention_that_changes_nothing_gives_the_same_clip(name, place):
    shapes = []

    def replacement(q, k, v, extra):
        shapes.append((tuple(q.shape), tuple(k.shape), extra["block"]))
        return attention(q, k, v, extra)

    made = sample(model=patched(replace={name: {place: replacement}}), steps=1)
    torch.testing.assert_close(made, sample(steps=1), atol=1e-4, rtol=1e-4)
    (q, k, block), *more = shapes
    assert more == []
    assert block == place[:2]
    assert q[0] == k[0]
    assert left_over() == 0


def test_a_patch_that_changes_something_changes_the_clip_and_not_the_next_one():
    before = sample(steps=1)
    muted = patched(replace={"attn1": {("middle", 0): lambda q, k, v, extra: torch.zeros_like(q)}})
    assert not torch.equal(sample(model=muted, steps=1), before)
    assert torch.equal(sample(steps=1), before)


def test_a_patch_that_fails_leaves_nothing_behind():
    def broken(*_):
        raise RuntimeError("of another pack")

    for model in (
        patched({"output_block_patch": [broken]}),
        patched({"input_block_patch": [broken]}),
        patched(replace={"attn1": {("middle", 0): broken}}),
    ):
        with pytest.raises(RuntimeError, match="of another pack"):
            sample(model=model, steps=1)
        assert left_over() == 0


def test_a_patch_without_a_place_is_told_once(caplog, monkeypatch):
    monkeypatch.delitem(network("base").__dict__, "_reported", raising=False)
    before = sample()
    assert torch.equal(sample(model=patched({"attn1_patch": [None]}, {"dit": {}})), before)
    told = [record.getMessage() for record in caplog.records]
    assert sum("'attn1_patch'" in each for each in told) == 1
    assert sum("'dit'" in each for each in told) == 1


def test_what_only_core_samplers_can_do_is_told(caplog):
    model = patched()
    model.model_options["sampler_cfg_function"] = lambda args: args["cond"]
    assert torch.equal(sample(model=model), sample())
    assert any("core KSampler only" in record.getMessage() for record in caplog.records)


def test_a_patch_is_told_which_half_of_the_guidance_it_sees():
    """IP-Adapters and self-attention guidance of ComfyUI read cond_or_uncond: 0 for the prompt, 1 for the negative."""
    seen = []

    def note(q, k, v, extra):
        seen.append((list(extra["cond_or_uncond"]), len(q)))
        return attention(q, k, v, extra)

    model = patched(replace={"attn2": {("middle", 0): note}})
    sample(model=model, steps=1)
    sample(model=model, steps=1, guidance_scale=1.0)
    assert [halves for halves, _ in seen] == [[1, 0], [0]]


def test_the_halves_are_told_apart_without_looking_at_their_text(monkeypatch):
    """Also where prompt and negative prompt are the same text, and no tensor goes to the CPU to be compared."""
    base, seen = stage("base"), []
    compared = []
    monkeypatch.setattr(torch, "equal", lambda *tensors: compared.append(tensors))
    forward = network("base").forward

    def limited(x, *args, **kwargs):
        seen.append(list(kwargs["transformer_options"]["cond_or_uncond"]))
        if len(x) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(network("base"), "forward", limited)
    sample(model=patched(), positive=base.positive, negative=base.positive, steps=1)
    assert seen == [[1, 0], [1], [0]]
    assert not compared
