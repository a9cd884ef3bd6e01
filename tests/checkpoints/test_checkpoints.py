"""Checkpoint files: told apart, loaded, saved, converted, taken apart."""

import argparse
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from support.checkpoint_files import SMALL, refusal, rewrite, small, write_base_file

from lavie.checkpoints import (
    convert_file,
    describe,
    detect,
    load_unet,
    read_layout,
    read_state_dict,
    save_unet,
    single_file_parts,
)
from lavie.errors import LavieError, UsageError
from lavie.models import UNetConfig, build_unet
from lavie.models.meta import WithoutWeights

STAGES = {
    "base_tiny_4level": "base",
    "base_tiny_headdim40": "base",
    "interpolation_tiny_4level": "interpolation",
    "seine_tiny": "extension",
    "vsr_tiny_4level": "upscaler",
    "vsr_tiny_2heads": "upscaler",
}
FULL_SIZE = {
    "lavie_base": ("base", ""),
    "lavie_interpolation": ("interpolation", ""),
    "seine": ("extension", "mask"),
    "lavie_vsr": ("upscaler", ""),
}
PARAMETERS = {
    "lavie_base": 909_124_116,
    "lavie_interpolation": 909_131_524,
    "seine": 909_138_516,
    "lavie_vsr": 691_036_436,
    "sd14_vae": 83_653_863,
    "vsr_vae": 55_325_927,
    "sd14_text_encoder": 123_060_480,
    "vsr_text_encoder": 340_387_840,
}
UPSCALER = {
    **SMALL,
    "in_channels": 7,
    "norm_num_groups": 32,
    "num_class_embeds": 10,
    "use_linear_projection": True,
    "only_cross_attention": [True, False],
    "temporal_module_config": {},
}


@pytest.fixture
def base_file(tmp_path):
    return write_base_file(tmp_path)


def manifest_tensors(manifest):
    return {name: torch.empty(shape, device="meta") for name, shape in manifest.items()}


# What a file is


@pytest.mark.parametrize("name", FULL_SIZE)
def test_the_full_size_layouts_are_told_apart_and_their_config_builds_exactly_them(key_manifest, name):
    manifest = key_manifest(name)
    found = detect(manifest_tensors(manifest))
    assert (found.kind, found.stage, found.variant) == ("unet", *FULL_SIZE[name])
    assert (found.layout, found.assumed) == ("released", ())
    with WithoutWeights():
        unet = build_unet(found.config)
    assert {key: list(value.shape) for key, value in unet.state_dict().items()} == manifest


@pytest.mark.parametrize(
    ("name", "kind", "variant"),
    [
        ("sd14_vae", "vae", "f8"),
        ("vsr_vae", "vae", "f4"),
        ("sd14_text_encoder", "text_encoder", "clip-l"),
        ("vsr_text_encoder", "text_encoder", "openclip-h"),
    ],
)
def test_vaes_and_text_encoders_are_told_apart(key_manifest, name, kind, variant):
    found = detect(manifest_tensors(key_manifest(name)))
    assert (found.kind, found.variant) == (kind, variant)


@pytest.mark.parametrize("name", PARAMETERS)
def test_describe_reads_the_header_alone_and_counts_the_parameters_of_the_full_size_models(
    key_manifest, tmp_path, name
):
    path = tmp_path / "model.safetensors"
    write_sparse_safetensors(path, key_manifest(name))
    told = describe(path)
    assert told["parameters"] == PARAMETERS[name]
    assert told["dtypes"] == {"float32": len(key_manifest(name))}
    assert json.loads(json.dumps(told)) == told


def write_sparse_safetensors(path, manifest):
    """A file of full size that takes no room on the disk."""
    header, end = {}, 0
    for name, shape in manifest.items():
        start, end = end, end + 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + end)


def test_an_extension_without_a_mask_has_positions_in_time_and_interpolation_has_none():
    first_frame = detect(small(in_channels=8).state_dict())
    interpolation = detect(small(in_channels=8, use_first_frame=True).state_dict())
    assert (first_frame.stage, first_frame.variant) == ("extension", "first-frame")
    assert interpolation.stage == "interpolation"


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["lora_unet_down_blocks_0.lora_up.weight"], "a LoRA"),
        (["down_blocks.0.motion_modules.0.temporal_transformer.norm.weight"], "an AnimateDiff motion module"),
        (["conv_in.weight", "add_embedding.linear_1.weight"], "a Stable Diffusion XL UNet"),
        (["conditioner.embedders.0.x", "first_stage_model.x"], "a Stable Diffusion XL checkpoint"),
        (["conv_in.weight", "mid_block.attentions.0.proj_in.weight"], "an image UNet"),
        (["encoder.weird"], "an unknown kind of file (tensors encoder.weird, …)"),
    ],
)
def test_other_peoples_files_are_called_by_their_names(tmp_path, names, title):
    path = tmp_path / "other.safetensors"
    save_file({name: torch.zeros(4, 4, 3, 3) for name in names}, path)
    assert describe(path)["title"].startswith(title)
    assert f"seems to be {title}" in refusal(path)


# Loading


@pytest.mark.parametrize("name", STAGES)
def test_every_golden_unet_loads_from_a_pickle_and_from_safetensors(golden, tmp_path, name):
    file = golden(name)
    torch.save({"ema": file.weights}, tmp_path / f"{name}.pt")
    save_file(file.weights, tmp_path / f"{name}.safetensors")
    (tmp_path / f"{name}.json").write_text(json.dumps(file.config))
    for suffix in ("pt", "safetensors"):
        unet = load_unet(tmp_path / f"{name}.{suffix}", stage=STAGES[name])
        assert unet.config == UNetConfig.from_dict(file.config)
        loaded = unet.state_dict()
        assert loaded.keys() == file.weights.keys()
        assert all(torch.equal(loaded[key], value) for key, value in file.weights.items())


def test_the_weights_may_be_wrapped_as_ema_or_state_dict_or_not_at_all_and_prefixed(tmp_path):
    weights = small().state_dict()
    for content in (
        weights,
        {"state_dict": weights, "epoch": 1},
        {"model": {"wrong": torch.zeros(1)}, "ema": weights},
        {f"module.{name}": tensor for name, tensor in weights.items()},
    ):
        torch.save(content, tmp_path / "any.pt")
        assert read_state_dict(tmp_path / "any.pt").keys() == weights.keys()


@pytest.mark.skipif(not hasattr(torch.serialization, "safe_globals"), reason="torch 2.4 refuses every class")
def test_arguments_that_a_training_program_keeps_beside_the_weights_do_no_harm(tmp_path):
    weights = small().state_dict()
    torch.save({"ema": weights, "args": argparse.Namespace(learning_rate=1e-4)}, tmp_path / "trained.pt")
    assert read_state_dict(tmp_path / "trained.pt").keys() == weights.keys()


def test_a_file_of_the_old_pickle_format_loads(base_file):
    torch.save(small().state_dict(), base_file, _use_new_zipfile_serialization=False)
    assert load_unet(base_file).config.in_channels == 4


def test_the_extension_of_a_file_name_does_not_matter(tmp_path):
    save_unet(small(), tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").rename(tmp_path / "x.ckpt")
    assert load_unet(tmp_path / "x.ckpt").config == small().config


def test_the_precision_of_the_file_is_kept_unless_another_is_asked_for(tmp_path):
    path = save_unet(small().half(), tmp_path / "half.safetensors")
    assert load_unet(path).dtype == torch.float16
    assert {p.dtype for p in load_unet(path, dtype=torch.float32).parameters()} == {torch.float32}


def test_a_loaded_unet_computes_what_the_saved_one_computed(tmp_path):
    unet = small().eval()
    sample, text = torch.randn(1, 4, 3, 4, 4), torch.randn(1, 5, 16)
    loaded = load_unet(save_unet(unet, tmp_path / "unet.safetensors"))
    with torch.no_grad():
        assert torch.allclose(loaded(sample, 10, text), unet(sample, 10, text), atol=1e-6)
    assert not loaded.training


def test_rotary_frequencies_that_a_converter_dropped_are_filled_in(base_file):
    rewrite(base_file, lambda ema: [ema.pop(name) for name in list(ema) if name.endswith("rotary_emb.freqs")])
    loaded = load_unet(base_file).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in small().state_dict().items() if "freqs" in name)


def test_the_config_inside_a_saved_file_settles_what_tensors_cannot_tell(tmp_path):
    unet = small(in_channels=8, use_first_frame=True, norm_num_groups=4, attention_head_dim=2)
    assert load_unet(save_unet(unet, tmp_path / "a.safetensors")).config == unet.config
    assert load_unet(save_unet(build_unet(UPSCALER), tmp_path / "b.safetensors")).config == UNetConfig.from_dict(
        UPSCALER
    )


def test_a_folder_with_a_config_and_weights_loads(tmp_path):
    save_unet(small(), tmp_path / "base" / "model.safetensors", config_file=True)
    assert load_unet(tmp_path / "base", stage="base").config == small().config


def test_a_config_of_another_unet_in_the_same_folder_is_not_mistaken_for_this_one(base_file):
    base_file.with_suffix(".json").unlink()
    (base_file.parent / "config.json").write_text(json.dumps({**SMALL, "in_channels": 8}))
    assert "do not tell norm_num_groups: put its config.json beside it" in refusal(base_file)


# Saving and converting


def test_a_converted_file_holds_the_same_weights_and_knows_its_stage_config_and_source(base_file):
    told = convert_file(base_file)
    path = base_file.with_suffix(".safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata["lavie.stage"] == told["stage"] == "base"
    assert metadata["lavie.source_sha256"] == told["source_sha256"]
    assert json.loads(metadata["lavie.config"])["norm_num_groups"] == 8
    base_file.with_suffix(".json").unlink()  # the metadata suffice now
    weights = load_unet(path, stage="base").state_dict()
    assert all(torch.equal(weights[name], value) for name, value in small().state_dict().items())
    assert sorted(file.name for file in base_file.parent.iterdir()) == ["base.pt", "base.safetensors"]


def test_conversion_to_half_keeps_the_rotary_frequencies(base_file):
    path = base_file.parent / "half.safetensors"
    convert_file(base_file, path, dtype=torch.float16)
    assert describe(path)["dtypes"].keys() == {"float16", "float32"}
    assert load_unet(path).dtype == torch.float16


def test_a_value_too_large_for_half_is_not_written(base_file):
    rewrite(base_file, lambda ema: ema["conv_out.bias"].fill_(1e6))
    with pytest.raises(LavieError, match=r"conv_out\.bias has values too large for float16"):
        convert_file(base_file, base_file.parent / "half.safetensors", dtype=torch.float16)
    assert not (base_file.parent / "half.safetensors").exists()


def test_conversion_never_replaces_a_file_unasked(base_file):
    convert_file(base_file)
    with pytest.raises(UsageError, match="is there already"):
        convert_file(base_file)
    with pytest.raises(UsageError, match="name another file"):
        convert_file(base_file.with_suffix(".safetensors"))
    assert convert_file(base_file, overwrite=True)["tensors"] > 0


def test_a_broken_source_leaves_no_file(base_file):
    rewrite(base_file, lambda ema: ema["conv_out.bias"].fill_(float("nan")))
    with pytest.raises(LavieError, match="NaN"):
        convert_file(base_file)
    assert not list(base_file.parent.glob("*.safetensors*"))


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = save_unet(small(), tmp_path / "unet.safetensors")
    before = path.read_bytes()

    def full_disk(_tensors, partial, **_):
        Path(partial).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lavie.checkpoints.save.save_file", full_disk)
    with pytest.raises(LavieError, match=r"unet\.safetensors could not be written: .*No space left"):
        save_unet(small(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["unet.safetensors"]


# Single files and folders of Stable Diffusion


def single_file(vae, text):
    """The VAE and text encoder under the names of a Stable Diffusion 1.x file."""
    content = {f"cond_stage_model.transformer.{name}": tensor for name, tensor in text.items()}
    content |= {f"first_stage_model.{name}": tensor for name, tensor in vae.items()}
    return content | {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}


def original_vae():
    """A VAE under the names of a Stable Diffusion 1.x file, with the right layers and tiny tensors."""
    layers = ["quant_conv", "post_quant_conv"]
    for half, way, blocks in (("encoder", "down", 2), ("decoder", "up", 3)):
        resnets = [f"{half}.mid.block_1", f"{half}.mid.block_2"]
        resnets += [f"{half}.{way}.{level}.block.{block}" for level in range(4) for block in range(blocks)]
        layers += [f"{resnet}.{layer}" for resnet in resnets for layer in ("norm1", "conv1", "norm2", "conv2")]
        layers += [f"{half}.mid.attn_1.{layer}" for layer in ("norm", "q", "k", "v", "proj_out")]
        layers += [f"{half}.{layer}" for layer in ("conv_in", "conv_out", "norm_out")]
    layers += [f"encoder.down.{level}.downsample.conv" for level in (0, 1, 2)]
    layers += [f"decoder.up.{level}.upsample.conv" for level in (1, 2, 3)]
    layers += [f"encoder.down.{level}.block.0.nin_shortcut" for level in (1, 2)]
    layers += [f"decoder.up.{level}.block.0.nin_shortcut" for level in (0, 1)]
    weights = {f"{layer}.weight": torch.randn((2, 2, 1, 1) if "attn" in layer else 2) for layer in layers}
    weights |= {f"{name}.mid.attn_1.norm.weight": torch.randn(2) for name in ("encoder", "decoder")}
    return weights | {f"{layer}.bias": torch.randn(2) for layer in layers}


def test_the_vae_of_a_single_file_gets_the_names_of_the_released_vae(key_manifest, tmp_path):
    new_names = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
    released = {".".join(new_names.get(part, part) for part in name.split(".")) for name in key_manifest("sd14_vae")}
    save_file(single_file(original_vae(), {"text_model.x": torch.zeros(1)}), tmp_path / "sd.safetensors")
    vae = single_file_parts(tmp_path / "sd.safetensors").vae
    assert vae.keys() == released
    assert {vae[name].ndim for name in vae if ".to_" in name and name.endswith("weight")} == {2}


def test_the_vae_of_a_single_file_is_renamed_exactly_as_diffusers_renames_it(tmp_path):
    diffusers = pytest.importorskip("diffusers.loaders.single_file_utils")
    content = single_file(original_vae(), {"text_model.x": torch.zeros(1)})
    torch.save({"state_dict": content}, tmp_path / "sd.ckpt")
    config = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
    expected = diffusers.convert_ldm_vae_checkpoint(content, config)
    vae = single_file_parts(tmp_path / "sd.ckpt").vae
    assert vae.keys() == expected.keys()
    assert all(torch.equal(vae[name], tensor) for name, tensor in expected.items())


def test_the_text_encoder_of_a_single_file_gets_its_plain_names(tmp_path):
    text = {
        "text_model.embeddings.token_embedding.weight": torch.zeros(3, 2),
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "text_model.final_layer_norm.weight": torch.ones(2),
    }
    save_file(single_file({}, text) | {"first_stage_model.x": torch.zeros(1)}, tmp_path / "sd.safetensors")
    parts = single_file_parts(tmp_path / "sd.safetensors")
    assert parts.text_encoder.keys() == {*text} - {"text_model.embeddings.position_ids"}
    assert describe(tmp_path / "sd.safetensors")["kind"] == "sd1-checkpoint"


def test_a_single_file_of_another_kind_is_refused(base_file):
    with pytest.raises(LavieError, match=r"base\.pt seems to be a LaVie base UNet, but a Stable Diffusion 1"):
        single_file_parts(base_file)


def test_describe_names_folders_by_what_lies_in_them(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text("{}")
    told = describe(tmp_path)
    assert told["title"] == "a diffusers folder (StableDiffusionPipeline)"
    assert told["parts"] == ["vae"]
    with pytest.raises(LavieError, match="holds no model"):
        describe(tmp_path / "..")


def test_the_golden_vaes_are_told_apart(golden, tmp_path):
    for name, variant in (("vae_tiny_sd14", "f8"), ("vae_tiny_vsr", "f4")):
        save_file(golden(name).weights, tmp_path / "vae.safetensors")
        found = detect(read_layout(tmp_path / "vae.safetensors").tensors)
        assert (found.kind, found.variant) == ("vae", variant)
