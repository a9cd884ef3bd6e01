"""Model patches of ComfyUI's nodes find in LaVie's UNet the places that they know from Stable Diffusion 1.x."""

from types import SimpleNamespace

import pytest
import torch
from support.graph import clip_of, interpolate, network, sample, stage
from torch.nn.functional import interpolate as interpolate_map
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


NOTHING = {
    "emb_patch": lambda emb, channels, options: emb,
    "input_block_patch_after_skip": lambda h, options: h,
    "attn1_patch": lambda n, keys, values, options: (n, keys, values),
    "attn1_output_patch": lambda n, options: n,
    "middle_patch": lambda x, options: x,
    "attn2_patch": lambda n, keys, values, options: (n, keys, values),
    "attn2_output_patch": lambda n, options: n,
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_patch_sees_its_place_and_one_that_changes_nothing_gives_the_same_clip(name):
    shapes = []

    def noting(*given):
        shapes.append(tuple(given[0].shape))
        return NOTHING[name](*given)

    before = sample(steps=1, height=64, width=64)
    made = sample(model=patched({name: [noting]}), steps=1, height=64, width=64)
    torch.testing.assert_close(made, before, atol=1e-4, rtol=1e-4)
    channels = network("base").config.block_out_channels
    if name == "emb_patch":
        assert shapes == [(2, 4 * channels[0])]
    elif name == "input_block_patch_after_skip":
        assert len(shapes) == 6
        assert shapes[0] == (2 * FRAMES, channels[0], 8, 8)
        assert shapes[-1] == (2 * FRAMES, channels[-1], 2, 2)
    else:
        assert {shape[0] for shape in shapes} == {2 * FRAMES}
        assert len(shapes) == sum(type(each).__name__ == "TransformerBlock" for each in network("base").modules())
    assert left_over() == 0


@pytest.mark.parametrize("name", NOTHING)
def test_a_patch_that_changes_its_place_changes_the_clip(name):
    def changing(first, *given):
        return NOTHING[name](first * 1.5, *given)

    assert not torch.allclose(sample(model=patched({name: [changing]}), steps=1), sample(steps=1), atol=1e-3)


def test_attention_patches_of_the_interpolation_see_the_first_and_the_previous_frame():
    seen = []

    def note(n, keys, values, options):
        seen.append((n.shape[1], keys.shape[1]))
        return n, keys, values

    video, interpolation = clip_of(2, 16, 16), stage("interpolation").model
    options = {"transformer_options": {"patches": {"attn1_patch": [note]}}}
    model = SimpleNamespace(model=interpolation.model, load_device=interpolation.load_device, model_options=options)
    made = interpolate(video, model=model, steps=1)
    torch.testing.assert_close(made, interpolate(video, steps=1), atol=2e-3, rtol=1e-3)
    assert all(keys == 2 * pixels for pixels, keys in seen)


def test_patches_know_the_size_and_the_noise_level_as_for_images():
    """ToMe and HyperTile read original_shape, Deep Shrink and IP-Adapters sigmas."""
    seen = []

    def note(h, options):
        seen.append((options["original_shape"], options["sigmas"].item()))
        return h

    sample(model=patched({"input_block_patch": [note]}), steps=2)
    assert all(shape == [2 * FRAMES, 4, 4, 6] for shape, _ in seen)
    levels = sorted({round(level, 3) for _, level in seen})
    assert len(levels) == 2
    assert 0 < levels[0] < levels[1] < 158


def test_deep_shrink_works_on_smaller_maps_between_two_blocks():
    def shrink(h, options):
        return interpolate_map(h, scale_factor=0.5) if options["block"][1] == 1 else h

    def grow(h, skip, options):
        return (interpolate_map(h, size=skip.shape[2:]), skip) if h.shape != skip.shape else (h, skip)

    model = patched({"input_block_patch_after_skip": [shrink], "output_block_patch": [grow]})
    made, before = (sample(steps=1, height=64, width=64, **given) for given in ({"model": model}, {}))
    assert made.shape == before.shape
    assert not torch.allclose(made, before, atol=1e-3)


def test_a_kept_deep_feature_is_not_changed_by_a_patch():
    """FreeU changes the map that it gets, also where the balanced preset uses it again."""

    def louder(h, skip, options):
        return h.mul_(1.1), skip

    model = patched({"output_block_patch": [louder]})
    fast = [sample(model=model, steps=6, speed="fast") for _ in range(2)]
    assert torch.equal(*fast)
    assert fast[0].std() < 3 * sample(steps=6, speed="fast").std()


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
