"""Model files and LoRA files by name: there or not, right or wrong, never outside their folders."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file
from support.graph import PACK, network, part, refused, run, stage
from support.single_files import sd1_file


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder that stands for models/<any kind>."""
    monkeypatch.setattr(part("nodes.host.files"), "folders", lambda key: [tmp_path / key])
    (tmp_path / "lavie").mkdir()
    (tmp_path / "secret.safetensors").write_bytes(b"not for you")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lavie/gone.safetensors", "no file 'gone.safetensors'.*models/lavie"),
        ("diffusion_models/sub/gone.pt", "no file 'sub/gone.pt'"),
        ("lavie/../secret.safetensors", "out of the models folder"),
        ("lavie/..\\secret.safetensors", "out of the models folder"),
        ("lavie//etc/passwd", "out of the models folder"),
        ("no such model", "no model 'no such model'"),
        ("lavie", "released weights are not here.*lavie_base.pt.*lavie-tiny"),
    ],
)
def test_a_model_that_is_not_there_is_named(models, name, message):
    refused(lambda: run("LaVieLoader", model=name), message)


@pytest.mark.parametrize("name", ["gone.safetensors", "../secret.safetensors", "/etc/passwd"])
def test_a_lora_that_is_not_there_is_named(models, name):
    refused(
        lambda: run("LaVieLoraLoader", model=stage("base").model, lora_name=name), "no file 'gone|out of the models"
    )


def test_a_file_that_is_no_lavie_model_is_named(models):
    folder = models / "lavie"
    (folder / "text.safetensors").write_text("a shopping list")
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(320, 4, 3, 3)}, folder / "sd.safetensors")
    refused(lambda: run("LaVieLoader", model="lavie/text.safetensors"), "text.safetensors")
    refused(lambda: run("LaVieLoader", model="lavie/sd.safetensors"), "sd.safetensors.*a UNet of one of LaVie")


def test_a_stage_that_the_file_does_not_hold_is_named(models):
    bundled = part("lavie.config").find_family("lavie-tiny").folder / "interpolation"
    (models / "lavie" / "mine").symlink_to(bundled)
    refused(lambda: run("LaVieLoader", model="lavie/mine", stage="upscaler"), "interpolation stage, not upscaler")
    (models / "lavie" / "extension").symlink_to(bundled.parent / "extension")
    for node in ("LaVieCascadeLoader", "LaVieTextToVideo"):
        refused(lambda node=node: run(node, model="lavie/extension"), "extension stage, which is none of base, inter")


def test_a_family_of_ones_own_is_loaded_and_a_broken_one_named(models):
    bundled = part("lavie.config").find_family("lavie-tiny").folder
    (models / "lavie" / "mine").symlink_to(bundled)
    model, clip, vae = run("LaVieLoader", model="lavie/mine", stage="upscaler")
    assert model.model.lavie.stage == clip.cond_stage_model.lavie.stage == vae.lavie.stage == "upscaler"
    broken = models / "lavie" / "broken"
    broken.mkdir()
    (broken / "family.json").write_text(json.dumps({"name": "broken"}))
    refused(lambda: run("LaVieLoader", model="lavie/broken"), "family.json")


def test_a_checkpoint_of_the_user_gives_clip_and_vae_and_the_node_says_so(models, monkeypatch):
    bundled, text = part("lavie.config").find_family("lavie-tiny").folder, part("lavie.models.text_encoder")
    config = json.loads((bundled / "text_encoder" / "config.json").read_text())
    monkeypatch.setattr(text, "CLIP_L", {name: config[name] for name in text.CLIP_L})
    monkeypatch.setattr(part("nodes.host"), "clip_tokenizer", lambda: bundled / "tokenizer")
    said = []
    monkeypatch.setattr(part("nodes.host"), "note", lambda sentence, _level: said.append(sentence))
    (models / "lavie" / "lavie_base.safetensors").symlink_to(next((bundled / "base").glob("*.safetensors")))
    (models / "lavie" / "config.json").symlink_to(bundled / "base" / "config.json")
    model, clip, vae = run("LaVieLoader", model="lavie")
    assert (clip, vae) == (None, None)
    assert said == []
    (models / "checkpoints").mkdir()
    save_file(
        sd1_file(stage("base").clip.cond_stage_model.encoder.model)[1], models / "checkpoints" / "mine.safetensors"
    )
    model, clip, vae = run("LaVieLoader", model="lavie")
    assert model.model.lavie.model == "lavie"
    assert vae.upscale_ratio == 8
    assert torch.equal(
        run("LaVieTextEncode", clip=clip, prompt="a red ball")[0][0][0],
        run("LaVieTextEncode", clip=stage("base").clip, prompt="a red ball")[0][0][0],
    )
    assert said == [
        "There is no stable-diffusion-v1-4: mine.safetensors gives the text encoder and the vae in its place."
    ]


def test_a_replaced_file_is_loaded_again(models):
    fingerprint = PACK.NODE_CLASS_MAPPINGS["LaVieLoader"].IS_CHANGED
    path = models / "lavie" / "mine.safetensors"
    path.write_bytes(b"1")
    first = fingerprint("lavie/mine.safetensors")
    assert fingerprint("lavie/mine.safetensors") == first
    assert fingerprint("lavie-tiny") == fingerprint("lavie-tiny")
    os.utime(path, ns=(1, 1))
    assert fingerprint("lavie/mine.safetensors") != first


def test_what_save_model_writes_loads_again_with_the_parts_of_its_family(models):
    """ComfyUI puts a prefix before every name, adds marks of its own, and leaves no place for metadata."""
    unet, notes = network("base"), part("lavie.tensor_files")
    config = json.dumps(unet.config.to_dict())
    kept = {f"model.diffusion_model.{name}": tensor.clone().contiguous() for name, tensor in unet.state_dict().items()}
    kept["model.diffusion_model.conv_out.bias"] += 1
    told = {"lavie.config": config, "lavie.stage": "base", "lavie.family": "lavie-tiny"}
    kept[f"model.diffusion_model.{notes.NOTES}"] = notes.notes_tensor(told)
    save_file({**kept, "v_pred": torch.tensor([])}, models / "lavie" / "merge.safetensors")
    model, clip, vae = run("LaVieLoader", model="lavie/merge.safetensors")
    assert torch.equal(model.model.diffusion_model.conv_out.bias, unet.conv_out.bias + 1)
    assert clip is not None
    assert vae is not None
    assert model.model.lavie.config.prediction_type == stage("base").model.model.lavie.config.prediction_type
