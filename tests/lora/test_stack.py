"""LoRAs on the weights: the mathematics of PEFT, strengths that turn, and no trace afterwards."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lora_files import written
from support.lora_layers import ATTENTION, differing, lora, plain, random, weights
from support.networks import TWO_LEVELS
from torch import nn

from lavie.errors import LavieError, UsageError
from lavie.lora import Lora, LoraStack
from lavie.lora.delta import changed, difference
from lavie.lora.names import is_temporal
from lavie.models import build_unet


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return build_unet(TWO_LEVELS)


# the mathematics


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "lokr, both factors decomposed"])
@pytest.mark.parametrize("layer", ["linear", "convolution", "1x1 convolution"])
def test_the_weights_are_those_that_peft_computes(kind, layer, dora):
    peft = pytest.importorskip("peft")
    if dora and kind != "lora":
        pytest.skip("PEFT has DoRA on plain LoRAs only")
    torch.manual_seed(0)
    layers = {
        "linear": nn.Linear(48, 32),  # wide enough for LoKr to decompose its second factor: only then alpha counts
        "convolution": nn.Conv2d(48, 32, 3),
        "1x1 convolution": nn.Conv2d(48, 32, 1),
    }
    model = nn.ModuleDict({"x": layers[layer]})
    before = model["x"].weight.detach().clone()
    options = {"target_modules": ["x"], "init_weights": False, "alpha": 6, "r": 2}
    if kind == "lora":
        config = peft.LoraConfig(r=2, lora_alpha=6, use_dora=dora, init_lora_weights=False, target_modules=["x"])
    elif kind == "loha":
        config = peft.LoHaConfig(**options)
    else:
        config = peft.LoKrConfig(**options, decompose_both=kind != "lokr")
    adapted = peft.inject_adapter_in_model(config, model)["x"]
    parts = {"alpha": torch.tensor(6.0)}
    for name, parameter in adapted.named_parameters():
        value = parameter.detach()
        if "base_layer" in name:
            continue
        part = name.removesuffix(".weight").removesuffix(".default")
        if part.startswith("lora_magnitude"):
            parts["dora_scale"] = value.reshape(-1, *[1] * (before.ndim - 1))
        else:
            parts[{"lora_A": "lora_down.weight", "lora_B": "lora_up.weight"}.get(part, part)] = value
    expected = merged(adapted)
    torch.testing.assert_close(changed(before, parts, 1.0), expected, rtol=1e-4, atol=1e-5)
    half = changed(before, parts, 0.5)
    torch.testing.assert_close(half, before + 0.5 * (expected - before), rtol=1e-4, atol=1e-5)


def merged(adapted):
    adapted.merge()
    return adapted.get_base_layer().weight.detach()


def test_a_tucker_core_is_the_product_of_its_three_factors():
    parts = {
        "lora_down.weight": random(3, 5, 1, 1),
        "lora_mid.weight": random(3, 3, 3, 3, seed=1),
        "lora_up.weight": random(7, 3, 1, 1, seed=2),
        "alpha": torch.tensor(1.5),
    }
    x = random(1, 5, 6, 6, seed=3)
    down, mid, up = (parts[f"lora_{name}.weight"] for name in ("down", "mid", "up"))
    steps = nn.functional.conv2d(nn.functional.conv2d(nn.functional.conv2d(x, down), mid), up) * 0.5
    at_once = nn.functional.conv2d(x, difference(parts))
    torch.testing.assert_close(at_once, steps, rtol=1e-4, atol=1e-4)


def test_whole_differences_count_as_they_are():
    weight, change = random(4, 3), random(4, 3, seed=1)
    torch.testing.assert_close(changed(weight, {"diff": change}, 0.25), weight + 0.25 * change)


def test_the_rank_does_not_change_the_strength_where_a_file_has_no_alpha():
    parts = plain(8, 6, rank=4)
    torch.testing.assert_close(difference(parts), parts["lora_up.weight"] @ parts["lora_down.weight"])
    doubled = difference({**parts, "alpha": torch.tensor(8.0)})
    torch.testing.assert_close(doubled, 2 * difference(parts))


# the stack


@settings(max_examples=15, deadline=None)
@given(strengths=st.lists(st.lists(st.floats(-2, 2), max_size=3), min_size=1, max_size=8))
def test_whatever_was_put_on_nothing_stays_when_it_is_taken_off(unet, strengths):
    before, stack = weights(unet), LoraStack(unet)
    for row in strengths:
        stack.set([lora(strength, seed=seed) for seed, strength in enumerate(row)])
    stack.set([])
    assert not differing(before, weights(unet))


def test_a_hundred_rounds_leave_no_trace_in_half_precision():
    torch.manual_seed(0)
    half = build_unet(TWO_LEVELS).half()
    before, stack = weights(half), LoraStack(half)
    for number in range(100):
        stack.set([lora(0.01 * number)])
        stack.set([])
    assert not differing(before, weights(half))


def test_only_what_is_on_counts_and_not_what_was_on_before(unet):
    stack = LoraStack(unet)
    stack.set([lora(0.7), lora(0.3, seed=5)])
    at_once = weights(unet)
    for strength in (0.1, 2.0, -1.0):
        stack.set([lora(strength, seed=9)])
    stack.set([lora(0.7), lora(0.3, seed=5)])
    assert not differing(at_once, weights(unet))
    stack.set([])


def test_parameters_stay_the_same_objects_so_that_nothing_is_compiled_again(unet):
    before, stack = dict(unet.named_parameters()), LoraStack(unet)
    memory = {name: parameter.data_ptr() for name, parameter in before.items()}
    stack.set([lora(1.0)])
    after = dict(unet.named_parameters())
    assert all(after[name] is before[name] and after[name].data_ptr() == memory[name] for name in before)
    stack.set([])


def test_plain_loras_add_up(unet):
    stack, before = LoraStack(unet), weights(unet)
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    changes = []
    for loras in ([lora(0.5)], [lora(0.25, seed=5)], [lora(0.5), lora(0.25, seed=5)]):
        stack.set(loras)
        changes.append(unet.state_dict()[name] - before[name])
    stack.set([])
    torch.testing.assert_close(changes[0] + changes[1], changes[2], rtol=1e-4, atol=1e-5)


def test_layers_that_look_along_the_frames_are_never_changed(unet):
    temporal = {name for name in unet.state_dict() if is_temporal(name) and name.endswith("weight")}
    layers = {
        f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}": {"diff": torch.ones(())} for name in temporal
    }
    own = lora().layers
    before, stack = weights(unet), LoraStack(unet)
    reports = stack.set([Lora("x", own | layers)])
    assert not {name for name in differing(before, weights(unet)) if is_temporal(name)}
    assert reports[0].layers == len(own)
    assert set(reports[0].left) == set(layers)
    stack.set([])


def test_strength_zero_is_no_lora(unet):
    before, stack = weights(unet), LoraStack(unet)
    stack.set([lora(0.0)])
    assert not differing(before, weights(unet))


# what cannot work


@pytest.mark.parametrize("strength", [1e9, -21.0, float("nan"), float("inf")])
def test_strengths_beyond_sense_are_refused(strength):
    with pytest.raises(UsageError, match=r"strength of test.safetensors must be between -20 and 20"):
        lora(strength)


def test_a_lora_of_another_size_is_refused_and_the_model_stays(unet):
    before, stack = weights(unet), LoraStack(unet)
    wrong = Lora("wide.safetensors", {**lora().layers, ATTENTION: plain(320, 320)})
    with pytest.raises(LavieError, match=r"wide.safetensors does not fit this model at .*102400 numbers.*\[64, 64\]"):
        stack.set([lora(1.0), wrong])
    assert not differing(before, weights(unet))


def test_a_lora_that_fits_nothing_is_refused(unet):
    with pytest.raises(LavieError, match=r"other\.safetensors fits no layer"):
        LoraStack(unet).set([Lora("other.safetensors", {"lora_unet_down_blocks_9_x": plain(4, 4)})])


def test_weights_that_overflow_are_refused():
    half = build_unet(TWO_LEVELS).half()
    before, stack = weights(half), LoraStack(half)
    huge = {ATTENTION: {name: 1e3 * part for name, part in plain(64, 64).items()}}
    with pytest.raises(LavieError, match="lower their strengths"):
        stack.set([Lora("huge", huge)])
    assert not differing(before, weights(half))


def test_an_adapter_of_an_unknown_kind_is_named(unet):
    with pytest.raises(LavieError, match="oft_blocks"):
        LoraStack(unet).set([Lora("oft", {ATTENTION: {"oft_blocks": torch.ones(2, 2)}})])


def test_a_file_is_read_in_any_spelling(tmp_path, unet):
    down, up = random(4, 64), random(64, 4, seed=1)
    dotted = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    kohya = written(
        {f"{ATTENTION}.lora_down.weight": down, f"{ATTENTION}.lora_up.weight": up}, tmp_path / "k.safetensors"
    )
    diffusers = written({f"{dotted}.lora_A.weight": down, f"{dotted}.lora_B.weight": up}, tmp_path / "d.safetensors")
    stack, made = LoraStack(unet), []
    for path in (kohya, diffusers):
        stack.set([Lora.read(path, 0.5)])
        made.append(weights(unet))
    assert not differing(*made)
    assert Lora.read(kohya, 0.5).text_strength == 0.5
    assert Lora.read(kohya, 0.5, 0.0).text_strength == 0
    stack.set([])
