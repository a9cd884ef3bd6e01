"""What is no LoRA for LaVie, or a damaged one, is called what it is in one sentence."""

import contextlib
import os
from random import Random

import pytest
import torch
from support.lora_files import UNET_LAYERS, refusal, spelled, weights, written

from lab.architecture import new_unet
from lavie.checkpoints import save_unet
from lavie.errors import LavieError
from lavie.lora import check_base, read_lora, to_kohya


def lora(*names: str, width: int = 64) -> dict:
    return {
        f"{name}{end}": torch.ones(shape)
        for name in names
        for end, shape in ((".lora_down.weight", (4, width)), (".lora_up.weight", (8, 4)))
    }


NOT_FOR_LAVIE = {
    "SDXL, second text encoder": (lora("lora_te2_text_model_encoder_layers_0_mlp_fc1"), "Stable Diffusion XL"),
    "SDXL, context": (lora("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k", width=2048), "XL"),
    "SDXL, diffusers": (lora("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_v", width=2048), "XL"),
    "SDXL, depth": (lora("unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q"), "Stable Diffusion XL"),
    "SDXL, own names": (lora("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q"), "Stable Diffusion XL"),
    "SDXL, size": (lora("lora_unet_add_embedding_linear_1"), "Stable Diffusion XL"),
    "SDXL, LoHa": (
        {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.hada_w1_b": torch.ones(4, 2048)},
        "Stable Diffusion XL",
    ),
    "SD 2": (lora("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k", width=1024), "Diffusion 2;"),
    "SD 2, text": (lora("lora_te_text_model_encoder_layers_0_self_attn_q_proj", width=1024), "Stable Diffusion 2;"),
    "Flux": (lora("lora_unet_double_blocks_0_img_attn_qkv", "lora_te1_text_model_encoder_layers_0_mlp_fc1"), "Flux"),
    "Flux, diffusers": (
        lora("transformer.transformer_blocks.0.x", "transformer.single_transformer_blocks.1.x"),
        "Flux",
    ),
    "SD 3": (lora("lora_unet_joint_blocks_0_x_block_attn_qkv"), "Stable Diffusion 3"),
    "SD 3, diffusers": (lora("transformer.transformer_blocks.0.attn.to_q"), "diffusion transformer"),
    "Wan": (lora("diffusion_model.blocks.0.cross_attn.k"), "diffusion transformer"),
    "Wan, kohya": (lora("lora_unet_blocks_0_cross_attn_k"), "diffusion transformer"),
    "PEFT transformer": (lora("base_model.model.transformer_blocks.0.attn.to_q"), "diffusion transformer"),
    "motion LoRA": (
        lora(
            "down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0."
            "attention_blocks.0.processor.to_q_lora"
        ),
        "AnimateDiff",
    ),
    "motion module": (
        {"down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight": torch.ones(2, 2)},
        "AnimateDiff motion module",
    ),
    "IP-Adapter": (
        {"ip_adapter.1.to_k_ip.weight": torch.ones(2, 2), "image_proj.norm.weight": torch.ones(2)},
        "an IP-Adapter",
    ),
    "embedding": ({"emb_params": torch.ones(2, 768)}, "textual inversion"),
    "image UNet": (
        {"conv_in.weight": torch.ones(4, 4, 3, 3), "mid_block.attentions.0.proj_in.weight": torch.ones(4)},
        "holds no LoRA, but an image UNet",
    ),
    "something": ({"a.weight": torch.ones(2)}, "holds no LoRA, but something else (tensors a.weight, …)"),
    "another model": (lora("0.to_q_lora"), "another kind of model"),
}


@pytest.mark.parametrize("what", NOT_FOR_LAVIE)
def test_what_is_made_for_another_model_is_called_what_it_is(what, tmp_path):
    tensors, says = NOT_FOR_LAVIE[what]
    message = refusal(written(tensors, tmp_path / "style.safetensors"))
    assert message.startswith("style.safetensors ")
    assert says in message
    assert says in refusal(tensors)
    with pytest.raises(LavieError, match=r"^It "):
        check_base({name: tensor.to("meta") for name, tensor in tensors.items()}, "It")


def test_a_whole_checkpoint_is_called_what_it_is(tmp_path):
    path = save_unet(new_unet("base"), tmp_path / "base.safetensors")
    assert refusal(path) == "base.safetensors holds no LoRA, but a LaVie base UNet."


DAMAGED = {
    "NaN": ({"lora_up.weight": torch.full((8, 4), float("nan"))}, "NaN or infinite"),
    "infinite": ({"lora_down.weight": torch.full((4, 64), float("inf"))}, "NaN or infinite"),
    "alpha NaN": ({"alpha": torch.tensor(float("nan"))}, "NaN or infinite"),
    "ranks": ({"lora_up.weight": torch.ones(8, 5)}, "disagree (down 4, up 5)"),
    "rank of the middle": ({"lora_mid.weight": torch.ones(3, 4, 1, 1)}, "disagree"),
    "vectors": ({"lora_down.weight": torch.ones(4)}, "no matrices"),
    "half": ({"lora_up.weight": None}, "has a lora_down but no lora_up"),
    "other half": ({"lora_down.weight": None}, "has a lora_up but no lora_down"),
    "two alphas": ({"alpha": torch.ones(2)}, "no single number"),
    "quantised": ({"lora_up.weight": torch.ones(8, 4, dtype=torch.int8)}, "is quantised"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_is_told_in_a_sentence(damage, tmp_path):
    stem = "lora_unet_mid_block_attentions_0_proj_in"
    changes, says = DAMAGED[damage]
    tensors = lora(stem) | {f"{stem}.{part}": tensor for part, tensor in changes.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    assert says in refusal(written(tensors, tmp_path / "x.safetensors"))


def test_a_layer_that_comes_twice_and_a_tensor_that_is_no_part_of_a_lora_are_named():
    layer = "base_model.model.mid_block.attentions.0.proj_in"
    twice = {f"{layer}.lora_{w}.{adapter}.weight": torch.ones(4, 4) for w in "AB" for adapter in ("cat", "dog")}
    assert "mid_block.attentions.0.proj_in twice" in refusal(twice)
    assert f"{layer}.weight" in refusal({f"{layer}.weight": torch.ones(4, 4)} | spelled("peft"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"trigger word: sunset", "it is a text file"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"\x80\x02}q\x00.", "truncated or damaged"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_called_what_it_seems_to_be(tmp_path, content, says):
    (tmp_path / "x.safetensors").write_bytes(content)
    assert says in refusal(tmp_path / "x.safetensors")
    assert "holds no LoRA" in refusal(tmp_path / ".." / tmp_path.name)
    assert "There is no" in refusal(tmp_path / "y.safetensors")


def test_a_pickle_without_tensors_or_with_code_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    for content in ({"strength": 1.0}, ["lora_up"], spelled("kohya") | {"code": Attack()}):
        torch.save(content, tmp_path / "x.pt")
        assert refusal(tmp_path / "x.pt").startswith("x.pt ")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_damage_anywhere_is_survived_or_told_in_a_sentence(tmp_path, suffix):
    path, tensors = tmp_path / f"x.{suffix}", spelled("kohya", weights(dict(list(UNET_LAYERS.items())[:2])))
    written(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)
    whole, random = path.read_bytes(), Random(0)
    for _ in range(100):
        damaged = bytearray(whole[: random.choice([len(whole), random.randrange(len(whole))])])
        for _ in range(random.randrange(4) if damaged else 0):
            damaged[random.randrange(min(len(damaged), 900))] = random.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(LavieError):
            to_kohya(read_lora(path))
