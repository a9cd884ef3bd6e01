"""Text encoders: transformers' own numbers, weights, long prompts, every layout of released files."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from lab.tokenizer import build_tokenizer
from lavie.errors import LavieError, UsageError
from lavie.models.text_encoder import (
    CLIP_L,
    OPENCLIP_H,
    TextEncoder,
    load_text_encoder,
    load_text_model,
    load_tokenizer,
    save_text_model,
    text_config,
)

RELEASED = {"sd14_text_encoder": (CLIP_L, 123_060_480), "vsr_text_encoder": (OPENCLIP_H, 340_387_840)}
WORDS = ["a", "red", "green", "ball", "over", "grass", ","]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A diffusers folder with a tiny text encoder of fixed weights."""
    folder = tmp_path_factory.mktemp("family")
    build_tokenizer(WORDS, folder / "tokenizer")
    tokens = load_tokenizer(folder / "tokenizer", 10_000)
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
        )
    )
    torch.manual_seed(0)
    for name, parameter in sorted(model.named_parameters(), key=lambda pair: pair[0].removeprefix("text_model.")):
        is_scale = "norm" in name and name.endswith(".weight")
        torch.nn.init.normal_(parameter, mean=float(is_scale), std=0.2)
    save_text_model(model, folder / "text_encoder")
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return load_text_encoder(folder / "text_encoder")


def plain(encoder, prompt):
    """What diffusers' pipelines compute."""
    tokens = encoder.tokenizer(prompt, padding="max_length", truncation=True, max_length=77, return_tensors="pt")
    with torch.no_grad():
        return encoder.model(tokens.input_ids).last_hidden_state


@pytest.mark.parametrize("prompt", ["", "a red ball", "A Zebra over grass, 12!", "(red:1.0) ball"])
def test_a_prompt_without_weights_is_exactly_the_plain_encoding(encoder, prompt):
    states = encoder.encode([prompt])
    assert states.shape == (1, 77, 32)
    assert torch.equal(states, plain(encoder, prompt.replace("(", "").replace(":1.0)", "")))


def test_the_numbers_are_those_of_every_version_of_transformers(encoder):
    """Computed with transformers 4.40 and 5.23."""
    states = encoder.encode(["a red ball over grass"])[0, [0, 3, 76], :3]
    expected = torch.tensor([[-1.5128, 2.2313, 0.0134], [-1.4497, 0.8033, -0.0657], [-1.5028, 1.4731, 0.1233]])
    assert torch.allclose(states, expected, atol=1e-4)


def test_prompts_in_a_batch_are_encoded_as_alone(encoder):
    together = encoder.encode(["a red ball", "grass"])
    alone = torch.cat([encoder.encode(["a red ball"]), encoder.encode(["grass"])])
    assert torch.allclose(together, alone, atol=1e-5)


def test_a_weight_moves_only_its_word_along_the_line_from_the_empty_prompt(encoder):
    base, empty = encoder.encode(["a red ball"]), encoder.encode([""])
    weighted = encoder.encode(["a (red:1.5) ball"])
    expected = base.clone()
    expected[:, 2] = empty[:, 2] + 1.5 * (base[:, 2] - empty[:, 2])
    assert torch.allclose(weighted, expected, atol=1e-5)
    assert torch.equal(weighted[:, :2], base[:, :2])
    assert torch.equal(weighted[:, 3:], base[:, 3:])
    assert torch.allclose(encoder.encode(["a (red:0) ball"])[:, 2], empty[:, 2], atol=1e-6)


def test_a_long_prompt_is_kept_in_chunks_that_are_encoded_alone(encoder):
    start, end = "a red ball, " * 18, "green grass over a ball"  # 72 and 5 tokens
    states = encoder.encode([start + end])
    assert states.shape == (1, 154, 32)
    assert torch.allclose(states[:, :77], encoder.encode([start]), atol=1e-5)
    assert torch.allclose(states[:, 77:], encoder.encode([end]), atol=1e-5)


def test_a_short_prompt_beside_a_long_one_is_filled_with_empty_chunks(encoder):
    states = encoder.encode(["red " * 160, "ball"])
    assert states.shape == (2, 231, 32)
    assert torch.allclose(states[1, :77], encoder.encode(["ball"])[0], atol=1e-5)
    for chunk in (states[1, 77:154], states[1, 154:]):
        assert torch.allclose(chunk, encoder.encode([""])[0], atol=1e-5)


def test_a_weight_in_the_second_chunk_finds_its_word(encoder):
    prompt = "red " * 75
    base, weighted = encoder.encode([prompt + "green ball"]), encoder.encode([prompt + "(green:2) ball"])
    changed = (base != weighted).any(dim=-1)[0].nonzero().flatten().tolist()
    assert changed == [77 + 1]


@pytest.mark.parametrize("pad_token", ["!", "<|endoftext|>"])
def test_padding_is_the_one_of_the_tokenizer_folder(folder, tmp_path, pad_token):
    """In the form of the released folders: Stable Diffusion 1.x pads with the end token, the upscaler with `!`."""
    build_tokenizer(WORDS, tmp_path)
    for file, kind in (("tokenizer_config.json", {"__type": "AddedToken"}), ("special_tokens_map.json", {})):
        rest = {"lstrip": False, "normalized": True, "rstrip": False, "single_word": False} | kind
        config = json.loads((tmp_path / file).read_text())
        config |= {"bos_token": {"content": "<|startoftext|>"} | rest, "pad_token": pad_token}
        config |= {name: {"content": "<|endoftext|>"} | rest for name in ("eos_token", "unk_token")}
        (tmp_path / file).write_text(json.dumps(config))
    encoder = load_text_encoder(folder / "text_encoder", tmp_path)
    numbers, weights = encoder.tokenize(["red"])
    vocabulary = json.loads((tmp_path / "vocab.json").read_text())
    ids = [vocabulary[token] for token in ("<|startoftext|>", "red</w>", "<|endoftext|>", pad_token)]
    assert numbers[0, 0].tolist() == [*ids[:3], *[ids[3]] * 74]
    assert (weights == 1).all()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=100) | st.text("()\\:.1 a,", max_size=200))
def test_any_text_encodes_to_finite_numbers(encoder, prompt):
    states = encoder.encode([prompt])
    assert states.shape[1] % 77 == 0
    assert states.isfinite().all()


def test_half_precision_is_finite_and_near(folder, encoder):
    half = load_text_encoder(folder / "text_encoder", dtype=torch.bfloat16)
    states = half.encode(["a (red:1.4) ball"])
    assert states.dtype == torch.bfloat16
    assert torch.allclose(states.float(), encoder.encode(["a (red:1.4) ball"]), atol=0.3)


def test_gradients_reach_the_weights_through_embed(folder):
    encoder = load_text_encoder(folder / "text_encoder")
    encoder.embed(*encoder.tokenize(["a red ball"])).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.model.parameters())
    assert not encoder.encode(["a red ball"]).requires_grad


@pytest.mark.parametrize("prompt", ["a red ball", "a (red:1.4) ball"])
def test_an_earlier_layer_is_what_a_model_without_the_later_ones_gives(folder, encoder, prompt):
    tensors = load_file(folder / "text_encoder" / "model.safetensors")
    tensors = {name: tensor for name, tensor in tensors.items() if ".layers.1." not in name}
    config = json.loads((folder / "text_encoder" / "config.json").read_text()) | {"num_hidden_layers": 1}
    shorter = load_text_encoder(tensors, folder / "tokenizer", config)
    assert torch.equal(encoder.encode([prompt], layer=-2), shorter.encode([prompt]))
    assert torch.equal(encoder.encode([prompt], layer=-1), encoder.encode([prompt]))
    assert not torch.equal(encoder.encode([prompt], layer=-2), encoder.encode([prompt]))


@pytest.mark.parametrize("layer", [-3, 0, 1])
def test_a_layer_that_is_not_there_is_refused(encoder, layer):
    with pytest.raises(UsageError, match="from -2 to -1"):
        encoder.encode(["a red ball"], layer=layer)


@pytest.mark.parametrize("name", RELEASED)
def test_the_released_encoders_have_exactly_our_names_and_shapes(key_manifest, name):
    expected, count = RELEASED[name]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in key_manifest(name).items()}
    assert text_config(tensors) == expected
    model = load_text_model(tensors, device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_names_with_and_without_prefix_and_position_ids_load_alike(folder, encoder, prefix):
    tensors = load_file(folder / "text_encoder" / "model.safetensors")
    assert all(name.startswith("text_model.") for name in tensors)
    tensors = {prefix + name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
    tensors[prefix + "embeddings.position_ids"] = torch.arange(77)[None]
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    loaded = load_text_encoder(tensors, folder / "tokenizer", config)
    assert torch.equal(loaded.encode(["a red ball"]), encoder.encode(["a red ball"]))


def test_transformers_own_folder_loads(folder, encoder, tmp_path):
    encoder.model.save_pretrained(tmp_path)
    loaded = load_text_encoder(tmp_path, folder / "tokenizer")
    assert torch.equal(loaded.encode(["a red ball"]), encoder.encode(["a red ball"]))
    ours = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    assert torch.equal(TextEncoder(loaded.tokenizer, ours).encode(["ball"]), encoder.encode(["ball"]))


def test_wrong_files_are_named_in_one_sentence(folder, tmp_path):
    tensors = load_file(folder / "text_encoder" / "model.safetensors")
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    with pytest.raises(LavieError, match="needs its tokenizer"):
        load_text_encoder(tensors, config=config)
    with pytest.raises(LavieError, match=r"2 layers of width 32"):
        load_text_encoder(tensors, folder / "tokenizer")
    with pytest.raises(LavieError, match="no token embedding"):
        load_text_model({"conv_in.weight": torch.zeros(1)})
    with pytest.raises(LavieError, match="There is no text encoder in"):
        load_text_encoder(tmp_path)
    with pytest.raises(LavieError, match=r"holds no vocab\.json"):
        load_text_encoder(folder / "text_encoder", tmp_path)
    incomplete = {name: tensor for name, tensor in tensors.items() if "final_layer_norm" not in name}
    with pytest.raises(LavieError, match=r"2 missing .*final_layer_norm"):
        load_text_encoder(incomplete, folder / "tokenizer", config)


def test_a_tokenizer_of_another_encoder_is_refused(folder, tmp_path):
    build_tokenizer([*WORDS, "elephant", "giraffe"], tmp_path)
    with pytest.raises(LavieError, match="do not belong together"):
        load_text_encoder(folder / "text_encoder", tmp_path)


def test_a_damaged_tokenizer_is_refused_in_one_sentence(folder, tmp_path):
    build_tokenizer(WORDS, tmp_path)
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(LavieError, match="cannot be read"):
        load_tokenizer(tmp_path, 10_000)
