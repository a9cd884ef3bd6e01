"""LoRA files made to do harm: they are refused at once, and nothing is multiplied that does not fit."""

import json
import re
import time
from contextlib import suppress

import pytest
import torch
from support.lora_files import RANK, spelled, written

from lavie.errors import LavieError
from lavie.lora import read_lora, to_kohya
from lavie.lora.delta import changed
from lavie.lora.patterns import LayerPatterns

WEIGHT = torch.zeros(32, 32)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(.*)*x", ".*a" * 200 + "!", "(x+x+)+y", ".*" * 100 + "q", "a" * 100_000]
)
def test_no_pattern_of_a_peft_config_hangs_the_reader(tmp_path, pattern):
    config = json.dumps({"r": RANK, "lora_alpha": 4, "alpha_pattern": {pattern: 1}})
    path = written(spelled("peft"), tmp_path / "a.safetensors", {"lora_adapter_metadata": config})
    began = time.process_time()
    with suppress(LavieError):
        read_lora(path)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("pattern", "layer", "fits"),
    [
        ("to_q", "attn1.to_q", True),
        ("to_q", "attn1.not_to_q", False),
        ("attn1.to_q", "down.attn1.to_q", True),
        (r"attn1\.to_q", "down.attn1.to_q", True),
        ("^attn1.to_q$", "down.attn1.to_q", False),
        ("^attn1.to_q$", "attn1.to_q", True),
        ("^down.*to_q", "down.attn1.to_q", True),
        ("^attn.*to_q", "down.attn1.to_q", False),
        ("mid.*to_k", "mid_block.attn1.to_k", True),
        ("mid.*to_k", "mid_block.attn1.to_q", False),
        ("attn.*to_k", "mid_block.attn1.to_k", True),
        ("ttn.*to_k", "mid_block.attn1.to_k", False),
        ("to_q|to_k", "attn1.to_k", True),
        (".*", "anything.at.all", True),
        ("a.*b.*a", "a.b.a", True),
        ("a.*b.*ba", "a.ba", False),
    ],
)
def test_patterns_fit_the_layers_that_peft_would_take(pattern, layer, fits):
    assert bool(re.match(rf"(.*\.)?({pattern})$", layer)) == fits, "what PEFT does"
    assert LayerPatterns({pattern: True}).find(layer, False) == fits


def test_the_first_fitting_pattern_counts():
    assert LayerPatterns({"b.*c": 1, "c": 2}).find("a.b.c", 0) == 1
    assert LayerPatterns({"c": 2, "b.*c": 1}).find("a.b.c", 0) == 2


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"lora_up.weight": (300_000, 1), "lora_down.weight": (1, 300_000)}, "gives 90000000000 numbers"),
        ({"lokr_w1": (40_000, 1), "lokr_w2": (1, 40_000)}, "gives 1600000000 numbers"),
        ({"lokr_w1_a": (9000, 1), "lokr_w1_b": (1, 9000), "lokr_w2": (9, 9)}, "numbers where the model has"),
        ({"lora_up.weight": (32, 5000), "lora_down.weight": (5000, 32)}, "its rank is 5000"),
        ({"hada_w1_a": (32, 4), "hada_w1_b": (4, 32), "hada_w2_a": (99, 4), "hada_w2_b": (4, 99)}, "numbers where"),
        ({"hada_w1_a": (32, 4), "hada_w1_b": (4, 32)}, "do not fit together"),
        ({"lora_up.weight": (32, 4), "lora_down.weight": (5, 32)}, "do not fit together"),
        ({"lora_up.weight": (32,), "lora_down.weight": (4, 32)}, "no matrices"),
        ({"lora_up.weight": (32, 0), "lora_down.weight": (0, 32)}, "no matrices"),
        ({"lora_up.weight": (32, 4), "lora_down.weight": (4, 32), "dora_scale": ()}, "do not fit together"),
        ({"lora_up.weight": (32, 4), "lora_down.weight": (4, 32), "dora_scale": (3, 1)}, "do not fit together"),
    ],
)
def test_factors_are_compared_with_the_layer_before_they_are_multiplied(parts, says):
    with pytest.raises(LavieError, match=says):
        changed(WEIGHT, {name: torch.zeros(shape) for name, shape in parts.items()}, 1.0)


def test_weights_without_dimensions_are_refused(tmp_path):
    tensors = spelled("peft")
    tensors[next(iter(tensors))] = torch.tensor(1.0)
    found = read_lora(written(tensors, tmp_path / "a.safetensors"))
    with pytest.raises(LavieError, match="no matrices"):
        to_kohya(found)
