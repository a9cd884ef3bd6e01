"""The bundled example of a LoRA: small, for the look of the pictures alone, and plainly visible."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

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
