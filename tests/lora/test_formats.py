"""LoRA files in every spelling give the same change of the same layers."""

import json
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.lora_files import (
    LAYERS,
    RANK,
    SPELLINGS,
    TEXT_LAYERS,
    TEXT_OUT,
    UNET_LAYERS,
    kohya,
    refusal,
    spelled,
    weights,
    written,
)

from lab.architecture import new_unet
from lavie.lora import read_lora, temporal_layers, to_kohya
from lavie.lora.compvis import from_compvis
from lavie.lora.names import split


def deltas(tensors: dict) -> dict:
    """What a LoRA in kohya's names adds to each layer at strength 1."""
    found = {}
    for name in tensors:
        if name.endswith(".lora_down.weight"):
            layer = name.removesuffix(".lora_down.weight")
            down, up, alpha = (
                tensors[f"{layer}.{part}"].float() for part in ("lora_down.weight", "lora_up.weight", "alpha")
            )
            found[layer] = alpha / len(down) * (up.flatten(1) @ down.flatten(1))
    return found


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[name], b[name], rtol=1e-5, atol=1e-6) for name in a)


EXPECTED = {kohya(layer): up @ down for layer, (down, up) in weights().items()}


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_gives_the_same_change_of_the_same_layers(spelling, suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    tensors = spelled(spelling)
    written(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)
    converted = to_kohya(read_lora(path))
    assert same(deltas(converted), EXPECTED)
    assert len(converted) == 3 * len(EXPECTED)
    assert same(to_kohya(converted), converted)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(LAYERS)), st.sampled_from(sorted(SPELLINGS))),
        min_size=1,
        unique_by=lambda pair: pair[0],
    ),
    st.floats(0.01, 64),
)
def test_spellings_may_be_mixed_within_one_file(choices, alpha):
    tensors = {}
    for layer, spelling in choices:
        tensors |= spelled(spelling, {layer: weights()[layer]})
        down, _ = SPELLINGS[spelling](layer)
        stem = re.sub(r"(\.lora_A.*|\.lora_down|\.lora_linear_layer\.down|[._]lora\.down).*$", "", down)
        tensors[f"{stem}.alpha"] = torch.tensor(alpha)
    expected = {kohya(layer): EXPECTED[kohya(layer)] * alpha / RANK for layer, _ in choices}
    assert same(deltas(to_kohya(tensors)), expected)


def test_the_names_are_those_of_the_video_unets_parameters():
    unet = new_unet("base")
    spatial = [
        name
        for name, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear) and ".transformer_blocks." in name and "temp" not in name
    ]
    tensors = spelled("peft", weights({name: unet.get_submodule(name).weight.shape for name in spatial}))
    known = {"lora_unet_" + name.removesuffix(".weight").replace(".", "_") for name in unet.state_dict()}
    assert len(spatial) > 50
    assert deltas(to_kohya(tensors)).keys() <= known


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn_temp_to_q.lora_down.weight",
        "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn_temp.to_q.lora_A.weight",
        "unet.up_blocks.0.attentions.0.transformer_blocks.0.attn_temporal.to_v.lora.up.weight",
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_norm_temp.diff",
        "lora_unet_down_temporal_blocks_0_shift_conv.lora_up.weight",
        "lora_unet_mid_block_attentions_0_resblock_temporal_conv1.lora_mid.weight",
    ],
)
def test_temporal_layers_are_left_out_and_told(name):
    tensors = spelled("kohya") | {name: torch.ones(4, 4)}
    assert same(to_kohya(tensors), to_kohya(spelled("kohya")))
    assert temporal_layers(tensors) == [split(name).layer]
    assert temporal_layers(spelled("kohya")) == []
    assert "changes only motion layers" in refusal({name: torch.ones(4, 4)})


def test_other_adapters_in_kohyas_names_pass_untouched():
    stem = "lora_unet_down_blocks_0_resnets_0_conv1"
    parts = ["hada_w1_a", "hada_w1_b", "lokr_w1", "lokr_w2_a", "diff", "diff_b", "dora_scale", "oft_blocks", "w_norm"]
    tensors = {f"{stem}.{part}": torch.randn(3, 4) for part in parts} | {f"{stem}.alpha": torch.tensor(2.0)}
    assert same(to_kohya(tensors), tensors)
    tucker = {"lora_down.weight": (4, 8, 1, 1), "lora_mid.weight": (4, 4, 3, 3), "lora_up.weight": (8, 4, 1, 1)}
    tensors = {f"{stem}.{part}": torch.randn(shape) for part, shape in tucker.items()}
    assert same(to_kohya(tensors), tensors | {f"{stem}.alpha": torch.tensor(4.0)})


def test_embeddings_bundled_with_a_lora_are_left_out():
    tensors = spelled("kohya") | {"bundle_emb.style.string_to_param.*": torch.ones(2, 768)}
    assert same(to_kohya(tensors), to_kohya(spelled("kohya")))


def test_stable_diffusions_own_layer_names_become_diffusers():
    names = {
        "input_blocks_0_0": "conv_in",
        "input_blocks_1_0_in_layers_2": "down_blocks_0_resnets_0_conv1",
        "input_blocks_2_1_transformer_blocks_0_norm1": "down_blocks_0_attentions_1_transformer_blocks_0_norm1",
        "input_blocks_3_0_op": "down_blocks_0_downsamplers_0_conv",
        "input_blocks_8_1_proj_in": "down_blocks_2_attentions_1_proj_in",
        "input_blocks_11_0_out_layers_3": "down_blocks_3_resnets_1_conv2",
        "middle_block_0_emb_layers_1": "mid_block_resnets_0_time_emb_proj",
        "middle_block_1_transformer_blocks_0_ff_net_2": "mid_block_attentions_0_transformer_blocks_0_ff_net_2",
        "output_blocks_2_1_conv": "up_blocks_0_upsamplers_0_conv",
        "output_blocks_5_2_conv": "up_blocks_1_upsamplers_0_conv",
        "output_blocks_11_1_proj_out": "up_blocks_3_attentions_2_proj_out",
        "output_blocks_11_0_skip_connection": "up_blocks_3_resnets_2_conv_shortcut",
        "time_embed_2": "time_embedding_linear_2",
        "down_blocks_0_attentions_0_proj_in": "down_blocks_0_attentions_0_proj_in",
    }
    assert {name: from_compvis(name) for name in names} == names
    down, up = torch.randn(4, 32), torch.randn(32, 4)
    stem = "input_blocks.4.1.transformer_blocks.0.attn1.to_q"
    underscored = {f"lora_unet_{stem.replace('.', '_')}.lora_{w}.weight": t for w, t in (("down", down), ("up", up))}
    dotted = {f"diffusion_model.{stem}.lora_{w}.weight": t for w, t in (("A", down), ("B", up))}
    assert same(to_kohya(underscored), to_kohya(dotted))
    assert list(deltas(to_kohya(dotted))) == ["lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_every_floating_point_precision_is_read(tmp_path, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in spelled("kohya").items()}
    read = to_kohya(read_lora(written(tensors, tmp_path / "x.safetensors")))
    for name, tensor in tensors.items():
        assert torch.equal(read[name].float(), tensor.float())
    assert {tensor.element_size() for tensor in read.values()} <= {2, 4}


# alpha


@pytest.mark.parametrize(
    ("config", "strength"),
    [
        ({"r": RANK, "lora_alpha": 8}, 2.0),
        ({"r": RANK, "lora_alpha": 8, "use_rslora": True}, 4.0),
        ({"r": 16, "rank_pattern": {"to_q": RANK, "to_.*|to_out.0|out_proj|q_proj": RANK}, "lora_alpha": 2}, 0.5),
        ({"r": RANK, "lora_alpha": 8, "alpha_pattern": {".*": 1}}, 0.25),
        ({"r": 64, "lora_alpha": 8}, 1.0),
        ({}, 1.0),
    ],
)
def test_pefts_alpha_comes_from_the_config_beside_the_file(tmp_path, config, strength):
    written(spelled("peft"), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    expected = {layer: strength * delta for layer, delta in EXPECTED.items()}
    assert same(deltas(to_kohya(read_lora(tmp_path / "adapter_model.safetensors"))), expected)
    assert same(deltas(to_kohya(read_lora(tmp_path))), expected)


def test_diffusers_alpha_comes_from_the_metadata_of_each_component(tmp_path):
    config = {"unet.r": RANK, "unet.lora_alpha": 2, "text_encoder.r": RANK, "text_encoder.lora_alpha": 12}
    path = written(spelled("diffusers"), tmp_path / "x.safetensors", {"lora_adapter_metadata": json.dumps(config)})
    strength = lambda layer: 3.0 if "_te_" in layer else 0.5  # noqa: E731
    assert same(deltas(to_kohya(read_lora(path))), {k: strength(k) * v for k, v in EXPECTED.items()})


def test_an_alpha_in_the_file_counts_more_than_one_beside_it(tmp_path):
    alphas = {name.replace(".lora_A.weight", ".alpha"): torch.tensor(2.0) for name in spelled("peft") if "_A" in name}
    written(spelled("peft") | alphas, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 400}))
    assert same(deltas(to_kohya(read_lora(tmp_path))), {k: 0.5 * v for k, v in EXPECTED.items()})


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[" * 100_000,
        '{"r": 4, "lora_alpha": "much"}',
        '{"r": [4]}',
        '{"r": 4, "lora_alpha": NaN}',
        '{"r": 4, "alpha_pattern": {"(": 1}}',
        '{"r": 4, "alpha_pattern": 7}',
    ],
)
def test_a_broken_config_is_told(tmp_path, text):
    written(spelled("peft"), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(text)
    assert "adapter" in refusal(tmp_path)


# what diffusers and PEFT themselves write


@pytest.fixture(scope="module")
def adapted():
    """A tiny image UNet of diffusers with a LoRA of PEFT, and what that adds to each layer."""
    peft = pytest.importorskip("peft", "0.21")  # older ones take patterns otherwise
    UNet2DConditionModel = pytest.importorskip("diffusers", "0.42").UNet2DConditionModel  # noqa: N806 (a class)

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=48,
        attention_head_dim=8,
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    unet.add_adapter(
        peft.LoraConfig(
            r=RANK,
            lora_alpha=6,
            init_lora_weights=False,
            target_modules=["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "conv1"],
            rank_pattern={"mid_block.*to_q": 2},
            alpha_pattern={"mid_block.*to_k": 1},
        )
    )
    layers = {name: m for name, m in unet.named_modules() if hasattr(m, "lora_A") and "default" in m.lora_A}
    changes = {kohya(name): module.get_delta_weight("default").flatten(1) for name, module in layers.items()}
    return unet, {name: change.detach() for name, change in changes.items()}


@pytest.mark.parametrize("safe", [True, False])
def test_a_file_that_diffusers_saves_gives_what_peft_applies(adapted, tmp_path, safe):
    unet, expected = adapted
    unet.save_lora_adapter(tmp_path, safe_serialization=safe)
    if not safe:  # a pickle has no place for alpha: the strength is 1 unless a config lies beside it
        config = unet.peft_config["default"].to_dict()
        plain = {name: value for name, value in config.items() if isinstance(value, (int, str, dict))}
        (tmp_path / "adapter_config.json").write_text(json.dumps(plain))
    assert same(deltas(to_kohya(read_lora(tmp_path))), expected)


def test_a_folder_that_peft_saves_gives_what_peft_applies(tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(hidden_size=32, intermediate_size=64, num_attention_heads=4, num_hidden_layers=2)
    for use_rslora in (False, True):
        targets = ["q_proj", "out_proj", "fc1"]
        lora = peft.LoraConfig(
            r=RANK, lora_alpha=3, use_rslora=use_rslora, init_lora_weights=False, target_modules=targets
        )
        model = peft.get_peft_model(CLIPTextModel(config), lora)
        model.save_pretrained(tmp_path)
        layers = {name: module for name, module in model.base_model.model.named_modules() if hasattr(module, "lora_A")}
        expected = {
            "lora_te_text_model_" + name.removeprefix("text_model.").replace(".", "_"): module.get_delta_weight(
                "default"
            )
            for name, module in layers.items()
        }
        assert same(deltas(to_kohya(read_lora(tmp_path))), {name: change.detach() for name, change in expected.items()})


def test_dora_of_peft_becomes_kohyas(tmp_path):
    peft = pytest.importorskip("peft")
    model = torch.nn.ModuleDict({"conv_in": torch.nn.Conv2d(4, 8, 3), "conv_out": torch.nn.Linear(4, 8)})
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, use_dora=True, target_modules=["conv_in", "conv_out"]))
    model.save_pretrained(tmp_path)
    converted = to_kohya(read_lora(tmp_path))
    weight = model.base_model.model.conv_out.weight
    assert converted["lora_unet_conv_in.dora_scale"].shape == (8, 1, 1, 1)
    assert torch.allclose(converted["lora_unet_conv_out.dora_scale"], weight.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("spelling", ["peft", "diffusers, lora.down", "diffusers, processors"])
def test_the_old_spellings_here_are_those_that_diffusers_knows(spelling):
    from diffusers.utils import convert_unet_state_dict_to_peft

    tensors = spelled(spelling, weights(UNET_LAYERS))
    tensors = {re.sub(r"^(unet|base_model\.model)\.", "", name): tensor for name, tensor in tensors.items()}
    known = convert_unet_state_dict_to_peft(tensors)
    assert same(
        known,
        {
            name.removeprefix("base_model.model."): tensor
            for name, tensor in spelled("peft", weights(UNET_LAYERS)).items()
        },
    )


def test_old_spellings_of_the_text_encoder_are_those_that_diffusers_knows():
    from diffusers.utils import convert_state_dict_to_peft

    layers = weights(TEXT_LAYERS | TEXT_OUT)
    expected = {name.removeprefix("base_model.model."): tensor for name, tensor in spelled("peft", layers).items()}
    for spelling in ("diffusers, lora_linear_layer", "diffusers, processors"):
        tensors = spelled(spelling, layers)
        known = convert_state_dict_to_peft({name.removeprefix("text_encoder."): t for name, t in tensors.items()})
        assert same(known, expected)


def test_diffusers_writes_the_same_kohya_names(adapted):
    peft = pytest.importorskip("peft")
    from diffusers.utils import convert_state_dict_to_kohya

    unet, _ = adapted
    tensors = {f"unet.{name}": t for name, t in peft.get_peft_model_state_dict(unet).items()}
    theirs = {name: tensor.float() for name, tensor in convert_state_dict_to_kohya(tensors).items()}
    assert same(to_kohya(tensors), theirs)
