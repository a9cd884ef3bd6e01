"""Stable Diffusion checkpoints that users have give the VAE and text encoder that the released family lacks."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.single_files import HEADS, WIDTH, sd1_file, x4_file
from transformers import CLIPTextConfig, CLIPTextModel

from lab.tokenizer import build_tokenizer
from lavie.checkpoints import describe, find_single_file, single_file_parts
from lavie.config import find_family
from lavie.errors import LavieError
from lavie.models.text_encoder import CLIP_L, OPENCLIP_H, load_text_model, load_tokenizer
from lavie.pipelines import parts

SMALL = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": HEADS}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host") / "sd1_tokenizer"
    build_tokenizer(["a", "red", "ball", "!"], folder)
    return folder


@pytest.fixture
def vocabulary(tokenizer):
    return len(load_tokenizer(tokenizer, 100_000))


@pytest.fixture
def small(monkeypatch, vocabulary):
    """The two released text encoders, small: 2 layers of CLIP-L, 3 of OpenCLIP."""
    clip = CLIP_L | SMALL | {"vocab_size": vocabulary, "num_hidden_layers": 2}
    openclip = OPENCLIP_H | SMALL | {"vocab_size": vocabulary, "num_hidden_layers": 3}
    monkeypatch.setattr("lavie.models.text_encoder.CLIP_L", clip)
    monkeypatch.setattr("lavie.models.text_encoder.OPENCLIP_H", openclip)
    return clip, openclip


@pytest.fixture
def family(tmp_path, tokenizer):
    """The released family with nothing of Stable Diffusion beside its networks."""
    folder = tmp_path / "models" / "lavie"
    folder.mkdir(parents=True)
    for name in ("lavie_base", "lavie_interpolation", "lavie_vsr"):
        (folder / f"{name}.safetensors").touch()
    return replace(find_family("lavie", [folder]), clip_tokenizer=tokenizer)


def checkpoint(family, name, content):
    path = family.folder.parent / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: tensor.contiguous() for key, tensor in content.items()}, path)
    return path


def in_newer_names(manifest):
    new = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    return {".".join(new.get(part, part) for part in name.split(".")) for name in manifest}


def test_the_file_of_the_upscaler_gets_the_names_of_its_released_parts(key_manifest, tmp_path):
    content = {name: tensor.contiguous() for name, tensor in x4_file()[2].items()}
    save_file(content, tmp_path / "x4.safetensors")
    assert describe(tmp_path / "x4.safetensors")["kind"] == "x4-checkpoint"
    found = single_file_parts(tmp_path / "x4.safetensors")
    released = set(key_manifest("vsr_text_encoder")) - {"text_model.embeddings.position_ids"}
    assert found.text_encoder.keys() == released
    assert found.vae.keys() == in_newer_names(key_manifest("vsr_vae"))


def test_the_text_encoder_of_the_upscalers_file_computes_what_openclip_computes(tmp_path):
    text, _, content = x4_file(layers=3)
    save_file(content, tmp_path / "x4.safetensors")
    config = OPENCLIP_H | SMALL | {"vocab_size": 8, "num_hidden_layers": 3, "eos_token_id": 7}
    model = load_text_model(single_file_parts(tmp_path / "x4.safetensors").text_encoder, config)
    numbers = torch.arange(77)[None] % 8
    with torch.no_grad():
        assert torch.allclose(model(numbers).last_hidden_state, text(numbers, layers=3), atol=1e-5)


def test_the_last_layer_of_openclip_is_left_out(tmp_path):
    content = x4_file(layers=24)[2]
    save_file(content, tmp_path / "x4.safetensors")
    names = single_file_parts(tmp_path / "x4.safetensors").text_encoder
    assert {int(name.split(".")[3]) for name in names if ".layers." in name} == set(range(23))


def test_any_checkpoint_of_stable_diffusion_1_gives_vae_and_text_to_base_and_interpolation(family, small):
    torch.manual_seed(2)
    text = CLIPTextModel(CLIPTextConfig(**small[0])).eval()
    vae, content = sd1_file(text)
    checkpoint(family, "SD15/paintings.safetensors", content)
    numbers = torch.arange(77)[None] % small[0]["vocab_size"]
    for stage in ("base", "interpolation"):
        config = family.stage(stage)
        parts.require_files(family, config)
        loaded = parts.load_vae_of(family, config)
        latents = torch.randn(1, 4, 2, 3)
        with torch.no_grad():
            assert torch.allclose(loaded.decode(latents).sample, vae.decode(latents).sample, atol=1e-5)
            encoder = parts.load_text_encoder_of(family, config)
            assert torch.allclose(encoder.model(numbers).last_hidden_state, text(numbers).last_hidden_state, atol=1e-5)
        assert encoder.tokenizer.pad_token == "<|endoftext|>"
    assert parts.stand_ins(family, ["base", "interpolation"]) == (
        "There is no stable-diffusion-v1-4: paintings.safetensors gives the text encoder and the vae in its place."
    )
    with pytest.raises(LavieError, match=r"lacks stable-diffusion-x4-upscaler.vae in "):
        parts.require_files(family, family.upscaler)


def test_the_upscalers_file_gives_its_vae_and_text_encoder(family, small, vocabulary):
    text, vae, content = x4_file(layers=3, vocabulary=vocabulary)
    path = checkpoint(family, "x4-upscaler-ema.safetensors", content)
    parts.require_files(family, family.upscaler)
    assert parts.stand_in(family, family.upscaler.vae) == path
    loaded = parts.load_vae_of(family, family.upscaler)
    assert loaded.config["scaling_factor"] == 0.08333
    latents = torch.randn(1, 4, 2, 3)
    encoder = parts.load_text_encoder_of(family, family.upscaler)
    numbers, _ = encoder.tokenize(["a red ball"])
    with torch.no_grad():
        assert torch.allclose(loaded.decode(latents).sample, vae.decode(latents).sample, atol=1e-5)
        assert torch.allclose(encoder.encode(["a red ball"]), text(numbers[0], layers=3), atol=1e-5)


def test_the_upscaler_pads_as_its_own_tokenizer_does_whatever_stands_in_for_it(family, small, tokenizer, vocabulary):
    """Stable Diffusion 2's tokenizer takes "!" for its padding, wherever it stands."""
    checkpoint(family, "x4.safetensors", x4_file(layers=3, vocabulary=vocabulary)[2])
    by_stand_in = parts.load_text_encoder_of(family, family.upscaler).tokenize(["a red ball!"])[0]
    own = family.folder / "stable-diffusion-x4-upscaler" / "tokenizer"
    own.mkdir(parents=True)
    for path in tokenizer.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        config = json.loads((own / name).read_text())
        (own / name).write_text(json.dumps({**config, "pad_token": "!"}))
    by_its_own = parts.load_text_encoder_of(family, family.upscaler).tokenize(["a red ball!"])[0]
    assert torch.equal(by_stand_in, by_its_own)
    assert by_stand_in[0, 0, -1] == by_stand_in[0, 0, 4]


def test_a_folder_of_the_release_comes_before_any_checkpoint(family, small):
    checkpoint(family, "paintings.safetensors", sd1_file(CLIPTextModel(CLIPTextConfig(**small[0])))[1])
    (family.folder / "stable-diffusion-v1-4" / "vae").mkdir(parents=True)
    assert parts.stand_in(family, family.base.vae) is None
    assert parts.stand_in(family, family.base.text_encoder).name == "paintings.safetensors"
    assert parts.stand_ins(family, ["base"]).endswith("paintings.safetensors gives the text encoder in its place.")


def test_the_tokenizer_of_another_stage_serves_and_a_missing_one_is_asked_for(family, small):
    checkpoint(family, "paintings.safetensors", sd1_file(CLIPTextModel(CLIPTextConfig(**small[0])))[1])
    alone = replace(family, clip_tokenizer=None)
    with pytest.raises(LavieError, match=r"lacks stable-diffusion-v1-4.tokenizer .*download clip-tokenizer`"):
        parts.require_files(alone, alone.base)
    (family.folder / "stable-diffusion-x4-upscaler" / "tokenizer").mkdir(parents=True)
    parts.require_files(alone, alone.base)


def test_released_files_are_preferred_and_what_is_no_such_file_is_passed_over(tmp_path):
    text = CLIPTextModel(CLIPTextConfig(**(CLIP_L | SMALL | {"vocab_size": 8, "num_hidden_layers": 1})))
    content = sd1_file(text)[1]
    (tmp_path / "a-broken.safetensors").write_text("not a model")
    save_file({"conditioner.embedders.0.x": torch.zeros(1)}, tmp_path / "b-sdxl.safetensors")
    assert find_single_file([tmp_path, tmp_path / "gone"], "sd1-checkpoint") is None
    (tmp_path / "below").mkdir()
    torch.save({"state_dict": content}, tmp_path / "c-mine.ckpt")
    assert find_single_file([tmp_path], "sd1-checkpoint") == tmp_path / "c-mine.ckpt"
    for name in ("d-mine.safetensors", "below/v1-5-pruned-emaonly.safetensors"):
        save_file(content, tmp_path / name)
    assert find_single_file([tmp_path], "sd1-checkpoint") == tmp_path / "d-mine.safetensors"
    found = find_single_file([tmp_path], "sd1-checkpoint", below=True)
    assert found == tmp_path / "below" / "v1-5-pruned-emaonly.safetensors"
    assert find_single_file([tmp_path], "x4-checkpoint", below=True) is None


def test_checkpoints_beside_the_familys_folder_are_looked_at(tmp_path):
    folder = tmp_path / "models" / "lavie"
    assert find_family("lavie", [folder]).checkpoints == (Path(tmp_path / "models" / "checkpoints"),)
