"""Configs, families, text encoders and VAEs of strangers: wrong types and absurd sizes are told, at once."""

import json
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checkpoint_files import SMALL, refusal, small

from lavie import bounded
from lavie.checkpoints import describe, load_unet, save_unet
from lavie.config import BUNDLED, find_family
from lavie.errors import LavieError
from lavie.models.text_encoder import load_text_encoder
from lavie.models.vae import load_vae

TINY = find_family(BUNDLED).folder


@pytest.fixture
def family(tmp_path):
    """A copy of the bundled family's folder, without its UNets."""
    for part in ("vae", "text_encoder", "tokenizer"):
        shutil.copytree(TINY / part, tmp_path / part)
    shutil.copy(TINY / "family.json", tmp_path)
    return tmp_path


def change(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


JSON_BOMBS = ["[" * 100_000, '{"a":' * 500 + "1" + "}" * 500, '{"a":' + "9" * 5000 + "}", '{"a": 1e999}', '{"a": NaN}']
JSON_BOMBS += ["[]", '"text"', "", "\x00", "{" + " " * bounded.MAX_TEXT + "}"]


@pytest.mark.parametrize("text", JSON_BOMBS, ids=range(len(JSON_BOMBS)))
def test_no_json_is_too_deep_or_too_large_to_be_refused_in_a_sentence(family, text):
    for name, read in {
        "family.json": lambda: find_family(family),
        "vae/config.json": lambda: load_vae(family / "vae"),
        "text_encoder/config.json": lambda: load_text_encoder(family / "text_encoder"),
        "tokenizer/vocab.json": lambda: load_text_encoder(family / "text_encoder"),
        "tokenizer/tokenizer_config.json": lambda: load_text_encoder(family / "text_encoder"),
    }.items():
        before = (family / name).read_bytes()
        (family / name).write_text(text)
        with pytest.raises(LavieError):
            read()
        (family / name).write_bytes(before)


@pytest.mark.parametrize(
    "values",
    [
        {"norm_num_groups": 0},
        {"norm_num_groups": "32"},
        {"norm_num_groups": True},
        {"norm_eps": "small"},
        {"only_cross_attention": 7},
        {"only_cross_attention": [True] * 3},
        {"sparse_causal_attention": "yes", "use_first_frame": 3},
    ],
)
def test_a_stored_config_with_impossible_values_is_refused(tmp_path, values):
    path = save_unet(small(), tmp_path / "base.safetensors", config={**SMALL, **values})
    refusal(path)
    describe(path)


@pytest.mark.parametrize("name", ["conv_in.weight", "conv_out.weight", "down_blocks.0.resnets.0.conv1.weight"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 4, 3, 3), (1, 1, 1, 1, 1, 1)])
def test_a_weight_of_the_wrong_rank_is_refused(tmp_path, name, shape):
    tensors = {**small().state_dict(), name: torch.ones(shape)}
    save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, tmp_path / "base.safetensors")
    refusal(tmp_path / "base.safetensors")
    describe(tmp_path / "base.safetensors")


def test_a_rotary_table_of_another_shape_is_refused(tmp_path):
    name = "mid_block.attentions.0.transformer_blocks.0.attn_temp.rotary_emb.freqs"
    tensors = {key: tensor.clone().contiguous() for key, tensor in small().state_dict().items()}
    save_file({**tensors, name: torch.ones(7)}, tmp_path / "base.safetensors")
    with pytest.raises(LavieError, match=r"\[7\] instead of \[16\]"):
        load_unet(tmp_path / "base.safetensors", config=SMALL)


@pytest.mark.parametrize(
    "values",
    [
        {"num_hidden_layers": 10**12},
        {"num_hidden_layers": 0},
        {"hidden_size": "64"},
        {"num_attention_heads": 7},
        {"num_attention_heads": 0},
        {"max_position_embeddings": 10**18},
        {"hidden_act": "exec"},
        {"layer_norm_eps": None},
        {"vocab_size": 3.5},
        {"eos_token_id": [1]},
    ],
)
def test_a_text_encoder_with_impossible_values_is_refused_at_once(family, values):
    change(family / "text_encoder" / "config.json", **values)
    began = time.process_time()
    with pytest.raises(LavieError):
        load_text_encoder(family / "text_encoder")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "values",
    [
        {"layers_per_block": 10**12},
        {"block_out_channels": 32},
        {"block_out_channels": [10**15] * 2},
        {"down_block_types": ["os.system"] * 2},
        {"norm_num_groups": 0},
        {"norm_num_groups": 7},
        {"scaling_factor": "1"},
        {"scaling_factor": 0},
        {"act_fn": 3},
        {"latent_channels": -1},
    ],
)
def test_a_vae_with_impossible_values_is_refused(family, values):
    change(family / "vae" / "config.json", **values)
    with pytest.raises(LavieError):
        load_vae(family / "vae")


@pytest.mark.parametrize(
    "values",
    [
        {"num_frames": "16"},
        {"num_frames": -5},
        {"height": 7.5},
        {"fps": -1},
        {"fps": None},
        {"guidance_scale": 1000},
        {"scheduler": ["ddim"]},
        {"scheduler": "exec"},
        {"prediction_type": 3},
        {"unet": 1},
        {"latent_rgb_factors": 7},
        {"latent_rgb_factors": [["a"] * 3] * 5},
        {"negative_prompt": {}},
    ],
)
def test_a_family_with_impossible_settings_is_refused(family, values):
    known = json.loads((family / "family.json").read_text())
    change(family / "family.json", base={**known["base"], **values})
    with pytest.raises(LavieError, match=r"family\.json"):
        find_family(family)


@pytest.mark.parametrize("values", [{"base": []}, {"base": "x"}, {"name": 7}, {"upscaler": None}])
def test_a_family_of_another_form_is_refused(family, values):
    change(family / "family.json", **values)
    with pytest.raises(LavieError, match=r"family\.json"):
        find_family(family)


def test_a_vae_whose_weights_have_no_dimensions_is_refused(family):
    file = family / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor.flatten()[0].clone() for name, tensor in tensors.items()}, file)
    with pytest.raises(LavieError):
        load_vae(family / "vae")
    describe(file)
