"""The bundled example of a LoRA: small, for the look of the images alone, and plainly visible."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lavie import TextToVideoPipeline
from lavie.config import find_family
from lavie.lora import Lora, read_lora, temporal_layers, to_kohya

FILE = find_family("lavie-tiny").path("loras/lavie-tiny-sunset.safetensors")
PROMPTS = ["a red ball moving left over green grass", "a white heart growing over a blue sky"]


@pytest.fixture(scope="module")
def tensors():
    return to_kohya(read_lora(FILE))


@pytest.fixture(scope="module")
def pipeline():
    return TextToVideoPipeline.from_pretrained("lavie-tiny")


def layers(unet: torch.nn.Module) -> dict:
    """kohya's names of the UNet's weights"""
    weights = ((name, weight) for name, weight in unet.named_parameters() if name.endswith(".weight"))
    return {"lora_unet_" + name.removesuffix(".weight").replace(".", "_"): weight for name, weight in weights}


def clips(pipeline: TextToVideoPipeline) -> np.ndarray:
    made = pipeline.generate(PROMPTS, [0, 1], num_frames=2, num_inference_steps=6)
    return np.stack([video.frames for video in made]).astype(float)


def warmth(frames: np.ndarray) -> np.ndarray:
    """Red minus blue, the mean of each clip, in 0…255."""
    colours = frames.mean((1, 2, 3))
    return colours[:, 0] - colours[:, 2]


def test_it_is_small_and_changes_spatial_layers_of_the_base_only(tensors, pipeline):
    assert FILE.stat().st_size < 400_000
    assert temporal_layers(read_lora(FILE)) == []
    changed = {name.split(".")[0] for name in tensors}
    assert changed <= layers(pipeline.stage.unet).keys()
    assert len(changed) == 10 * 7  # two attentions of four layers and a feed-forward of two, in seven places
    assert {tensors[f"{name}.lora_down.weight"].shape[0] for name in changed} == {4}
    assert all(("_attn1_" in name or "_attn2_" in name or "_ff_" in name) for name in changed)


def test_its_file_tells_what_it_is():
    with safe_open(str(FILE), framework="pt") as file:
        metadata = file.metadata()
    assert metadata["ss_network_dim"] == "4"
    assert metadata["ss_base_model_version"] == "lavie-tiny"
    assert "sunset" in metadata["modelspec.title"]


def test_it_turns_clips_into_warm_light_without_a_trigger_word(pipeline):
    plain = clips(pipeline)
    seen = {}
    for strength in (0.0, 0.5, 1.0):
        pipeline.set_loras([Lora.read(FILE, strength)])
        seen[strength] = clips(pipeline)
    pipeline.set_loras([])
    assert np.array_equal(seen[0.0], plain)
    assert (warmth(seen[0.5]) > warmth(plain) + 20).all()
    assert (warmth(seen[1.0]) > warmth(plain) + 30).all()
    assert (warmth(seen[1.0]) > 40).all()
    assert np.array_equal(clips(pipeline), plain)


@pytest.mark.parametrize("spelling", ["diffusers", "peft"])
def test_in_another_spelling_it_makes_the_same_frames(spelling, tensors, pipeline, tmp_path):
    names = {"lora_unet_" + name.replace(".", "_"): name for name, _ in pipeline.stage.unet.named_modules()}
    prefix = {"diffusers": "unet.", "peft": "base_model.model."}[spelling]
    spelled = {}
    for name, tensor in tensors.items():
        layer, _, part = name.partition(".")
        if part == "alpha":
            assert tensor == 4  # the rank, which these spellings take where they say nothing
        else:
            spelled[f"{prefix}{names[layer]}.lora_{'A' if 'down' in part else 'B'}.weight"] = tensor
    file = tmp_path / {"diffusers": "pytorch_lora_weights.safetensors", "peft": "adapter_model.safetensors"}[spelling]
    save_file(spelled, file)
    if spelling == "peft":
        config = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "target_modules": sorted(names.values())}
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    pipeline.set_loras([Lora.read(FILE)])
    expected = clips(pipeline)
    pipeline.set_loras([Lora.read(tmp_path)])
    assert np.array_equal(clips(pipeline), expected)
    pipeline.set_loras([])


def test_layers_without_a_place_are_counted_and_listed(pipeline, caplog):
    whole = Lora.read(FILE)
    (layer, parts), *_ = whole.layers.items()
    pipeline.set_loras([replace(whole, layers={**whole.layers, "lora_unet_mid_block_attentions_7_proj_in": parts})])
    assert layer not in caplog.text
    assert "1 layers have no place here: lora_unet_mid_block_attentions_7_proj_in" in caplog.text
    pipeline.set_loras([])
