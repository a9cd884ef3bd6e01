"""A LoRA from a few images: what is written, that it fits everywhere, and that a run goes on as if never stopped."""

import hashlib
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from support.training_family import HEIGHT, WIDTH, make_family

from lavie import TextToVideoPipeline
from lavie.cli import main
from lavie.errors import UsageError
from lavie.lora import Lora
from lavie.lora.names import is_temporal
from lavie.training.layers import TARGETS
from lavie.training.lora.camera import with_camera
from lavie.training.lora.data import CaptionedImage, images_in, with_crops, with_trigger
from lavie.training.lora.settings import HANDHELD_MAX_TIMESTEP, IMAGE_MAX_TIMESTEP, LoraSettings
from lavie.training.stages.stage import DenoisingStage


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return make_family(tmp_path_factory.mktemp("family") / "family")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for index in range(3):
        pixels = generator.integers(0, 255, (20, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    (folder / "0.txt").write_text("a zorb over grass, sunny")
    (folder / "1.txt").write_text("a thing over snow")
    return folder


def train(family, images, output, *more, steps=4):
    arguments = {"--family": family, "--images": images, "--run": output.with_suffix(""), "--output": output}
    given = [str(part) for pair in arguments.items() for part in pair]
    options = ["--trigger", "zorb", "--lora-rank", "2", "--steps", str(steps), "--batch", "2", "--warmup", "1"]
    quick = ["--learning-rate", "1e-2", "--device", "cpu", "--threads", "1"]
    return main(["train", "lora", *given, *options, *quick, *map(str, more)])


def contents(folder):
    return {path: hashlib.sha1(path.read_bytes()).digest() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def trained(family, images, tmp_path_factory):
    output = tmp_path_factory.mktemp("trained") / "zorb.safetensors"
    before = contents(family)
    assert train(family, images, output, "--train-text", "--lora-alpha", 1) == 0
    assert contents(family) == before
    return output


def test_the_file_has_the_names_and_metadata_of_kohya(trained):
    tensors = load_file(trained)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    layers = {name.partition(".")[0] for name in tensors}
    assert {layer[:9] for layer in layers} == {"lora_unet", "lora_te_t"}
    assert not any(map(is_temporal, layers))
    for layer in layers:
        assert tensors[f"{layer}.alpha"].item() == 1
        assert tensors[f"{layer}.lora_down.weight"].shape[0] == tensors[f"{layer}.lora_up.weight"].shape[1] == 2
    with safe_open(trained, "pt") as file:
        metadata = file.metadata()
    assert (metadata["ss_network_dim"], metadata["ss_network_alpha"]) == ("2", "1.0")
    assert metadata["ss_network_module"] == "networks.lora"
    assert metadata["ss_num_train_images"] == "3"
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert metadata["modelspec.trigger_phrase"] == "zorb"
    tags = json.loads(metadata["ss_tag_frequency"])["images"]
    assert tags == {"a zorb over grass": 1, "sunny": 1, "zorb": 2, "a thing over snow": 1}


def test_it_learnt_something_in_every_layer_and_fits_the_family(trained, family):
    tensors = load_file(trained)
    ups = [tensor for name, tensor in tensors.items() if name.endswith("lora_up.weight")]
    assert sum(bool(up.any()) for up in ups) > 0.9 * len(ups)
    pipeline = TextToVideoPipeline.from_pretrained(family, device="cpu")
    before = pipeline("a zorb").frames
    (applied,) = pipeline.set_loras([Lora.read(trained)])
    assert (applied.layers, applied.left) == (len(ups), ())
    assert not np.array_equal(pipeline("a zorb").frames, before)
    pipeline.set_loras([])
    assert np.array_equal(pipeline("a zorb").frames, before)


def test_diffusers_reads_every_key(trained):
    utils = pytest.importorskip("diffusers.loaders.lora_conversion_utils")
    tensors = load_file(trained)
    converted, alphas = utils._convert_non_diffusers_lora_to_diffusers(dict(tensors))
    assert len(converted) == sum("lora_" in name.partition(".")[2] for name in tensors)
    assert len(alphas) == sum(name.endswith(".alpha") for name in tensors)


def test_a_run_that_stopped_ends_as_one_that_never_did(family, images, tmp_path):
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    prior = ("--prior-prompt", "a ball", "--prior-images", 2, "--save-every", 2, "--schedule", "constant")
    assert train(family, images, whole, *prior) == 0
    assert train(family, images, parts, *prior, steps=2) == 0
    kept = (tmp_path / "parts" / "prior.safetensors").stat().st_mtime_ns
    assert train(family, images, parts, *prior) == 0
    assert (tmp_path / "parts" / "prior.safetensors").stat().st_mtime_ns == kept
    first, second = load_file(whole), load_file(parts)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    checkpoint = load_file(tmp_path / "parts" / "checkpoint-4" / "model.safetensors")
    assert checkpoint
    assert all("lora_" in name for name in checkpoint)


def test_in_half_precision_only_what_is_frozen_is_halved(family, images, tmp_path, monkeypatch):
    from lavie.training.lora import train as module

    dtypes = {}

    def seen(stage, *args, **kwargs):
        for _name, parameter in stage.model.named_parameters():
            dtypes.setdefault(parameter.requires_grad, set()).add(parameter.dtype)
        return train_loop(stage, *args, **kwargs)

    train_loop = module.train
    monkeypatch.setattr(module, "train", seen)
    output = tmp_path / "half.safetensors"
    assert train(family, images, output, "--mixed-precision", "bf16", steps=2) == 0
    assert dtypes == {False: {torch.bfloat16}, True: {torch.float32}}
    ups = [tensor for name, tensor in load_file(output).items() if name.endswith("lora_up.weight")]
    assert all(tensor.isfinite().all() for tensor in ups)
    assert any(tensor.any() for tensor in ups)


def test_a_checkpoint_of_other_layers_is_refused(family, images, tmp_path, capsys):
    output = tmp_path / "x.safetensors"
    assert train(family, images, output, steps=1) == 0
    (tmp_path / "x" / "settings.json").unlink()
    assert train(family, images, output, "--lora-targets", "attention", steps=2) == 1
    assert "other weights learnt in it" in capsys.readouterr().err


@pytest.mark.parametrize("targets", TARGETS)
def test_targets_are_the_layers_that_they_say(family, images, tmp_path, targets):
    output = tmp_path / "x.safetensors"
    assert train(family, images, output, "--lora-targets", targets, steps=1) == 0
    layers = {name.partition(".")[0] for name in load_file(output)}
    assert any("attn2_to_k" in layer for layer in layers)
    assert any("ff_net_0_proj" in layer for layer in layers) == (targets != "attention")
    assert any("resnets_0_conv1" in layer for layer in layers) == (targets == "all")
    assert not any(map(is_temporal, layers))
    assert not any(layer.startswith("lora_te") for layer in layers)


# captions and images


@pytest.mark.parametrize(
    ("caption", "expected"),
    [("", "zorb"), ("a cat", "zorb, a cat"), ("a ZORB on grass", "a ZORB on grass"), ("  ", "zorb")],
)
def test_the_trigger_stands_in_every_caption(caption, expected):
    assert with_trigger(caption, "zorb") == expected
    assert with_trigger("a cat", "") == "a cat"


def test_images_come_in_one_size_and_broken_ones_are_named(images, tmp_path):
    for path in images.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no image")
    images, report = images_in(tmp_path, HEIGHT, WIDTH, "zorb")
    assert [image.caption for image in images] == ["a zorb over grass, sunny", "zorb, a thing over snow", "zorb"]
    assert {tuple(image.pixels.shape) for image in images} == {(3, 1, HEIGHT, WIDTH)}
    assert [name for name, _ in report.broken] == ["broken.png"]
    assert len(images_in(tmp_path, HEIGHT, WIDTH)[0]) == 2


@given(st.integers(0, 2**32), st.sampled_from([(16, 24), (40, 8), (64, 96)]))
@settings(max_examples=20, deadline=None)
def test_crops_are_windows_of_the_image(seed, size):
    ramps = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, side) for side in size), indexing="ij"))
    whole = CaptionedImage("ramps", "a ramp", torch.cat((ramps, torch.zeros(1, *size)))[:, None])
    first, *crops = with_crops([whole], 3, (0.5, 1.0), seed, size)
    assert torch.equal(first.pixels, whole.pixels)
    assert [crop.caption for crop in crops] == ["a ramp"] * 3
    for crop in crops:
        down, right, flat = crop.pixels[:, 0]
        assert flat.abs().max() < 1e-5
        for ramp in (down[:, size[1] // 2], right[size[0] // 2]):
            assert (ramp.diff() > -1e-4).all()
            assert 0.4 < (ramp[-1] - ramp[0]) / 2 < 1.1
    assert not all(torch.equal(crop.pixels, crops[0].pixels) for crop in crops)


def test_crops_of_one_scale_are_the_original_pixels():
    size = (16, 24)
    rows, columns = LoraSettings(random_crops=3, crop_scale=(0.8, 0.8)).reading_size(*size)
    assert (rows, columns) == (20, 30)
    assert LoraSettings(crop_scale=(0.8, 0.8)).reading_size(*size) == size
    large = CaptionedImage("noise", "noise", torch.rand(3, 1, rows, columns) * 2 - 1)
    for crop in with_crops([large], 3, (0.8, 0.8), 5, size)[1:]:
        windows = large.pixels.unfold(2, size[0], 1).unfold(3, size[1], 1)
        assert (windows == crop.pixels[:, :, None, None]).all(dim=(0, 1, 4, 5)).any()


def test_crops_teach_something_else(family, images, trained, tmp_path):
    plain, cropped = tmp_path / "plain.safetensors", tmp_path / "cropped.safetensors"
    assert train(family, images, plain) == train(family, images, cropped, "--random-crops", 4) == 0
    name = next(name for name in load_file(plain) if name.endswith("lora_up.weight"))
    assert not torch.equal(load_file(plain)[name], load_file(cropped)[name])


def test_beside_clips_of_the_bases_own_the_images_learn_jointly(family, images, tmp_path):
    output = tmp_path / "zorb.safetensors"
    prior = ("--prior-prompt", "a red ball moving left", "--prior-images", 2, "--prior-frames", 3)
    assert train(family, images, output, *prior, "--images-per-clip", 2, "--prior-weight", 0.5) == 0
    clips = load_file(output.with_suffix("") / "prior.safetensors")["latents"]
    assert clips.shape[:3] == (2, 4, 3)
    losses = [json.loads(line) for line in (output.with_suffix("") / "log.jsonl").read_text().splitlines()]
    parts = [entry for entry in losses if "video" in entry]
    assert parts
    for entry in parts:
        assert entry["total"] == pytest.approx(entry["video"] + 2 * entry["image"], rel=1e-3)
    assert any(tensor.any() for name, tensor in load_file(output).items() if name.endswith("lora_up.weight"))


@pytest.mark.parametrize("size", [(16, 24), (32, 48)])
def test_before_a_hand_held_camera_the_image_is_the_same_somewhere_else_in_every_frame(size):
    """A ramp shows where a window stands: it moves from frame to frame, keeps its size, stays within."""
    rows, columns = 2 * size[0], 2 * size[1]
    across = torch.linspace(-1, 1, columns).expand(3, 1, rows, columns)
    made = with_camera([CaptionedImage("ramp", "a ramp", across)], 6, (0.5, 0.9), 3, size, 8)
    assert [clip.caption for clip in made] == ["a ramp"] * 6
    paths = []
    for clip in made:
        assert clip.pixels.shape == (3, 8, *size)
        assert clip.pixels.abs().max() <= 1
        middle = clip.pixels[0].mean(1)  # [frames, width]
        extent = middle[:, -1] - middle[:, 0]
        assert 0.9 < extent[0] / 2 * columns / size[0] < 2.9
        torch.testing.assert_close(extent, extent[:1].expand(8), atol=0.02, rtol=0.02)
        paths.append(middle[:, size[1] // 2] - middle[0, size[1] // 2])
    travelled = torch.stack(paths).diff(dim=1).abs()
    assert (travelled.amax(1) > 0).all()
    assert (travelled < 0.5).all()
    assert not torch.allclose(paths[0], paths[1])


@pytest.mark.parametrize("moves", [(), ("--camera-move", "over grass=nearer", "--camera-move", "over clouds=still")])
def test_clips_of_the_images_learn_in_turn_with_the_bases_own(family, images, tmp_path, monkeypatch, moves):
    """Half of the clips are of the images, with their captions, and only they keep to the lower noise levels."""
    seen = []
    prepared = DenoisingStage._prepared

    def noting(stage, example, device):
        made = prepared(stage, example, device)
        seen.append((example.clip.name.split(",")[1], made.captions[0], int(made.timesteps[0]), made.latents.shape[1]))
        return made

    monkeypatch.setattr(DenoisingStage, "_prepared", noting)
    prior = ("--prior-prompt", "a red ball moving left", "--prior-images", 2, "--prior-frames", 3)
    output, steps = tmp_path / "zorb.safetensors", 12
    more = (*prior, "--images-per-clip", 1, "--handheld-share", 0.5, "--random-crops", 1, *moves)
    assert train(family, images, output, *more, steps=steps) == 0
    handheld = [each for each in seen if each[0] == " hand-held"]
    own = [each for each in seen if each not in handheld]
    assert len(handheld) == len(own) == steps  # two clips a step
    assert {frames for *_, frames in seen} == {3 + 1}
    assert {caption for _, caption, *_ in own} <= {"a red ball moving left", ""}
    assert all("zorb" in caption for _, caption, *_ in handheld)
    assert any("over clouds" in caption for _, caption, *_ in handheld) == bool(moves)
    assert max(level for *_, level, _ in handheld) < HANDHELD_MAX_TIMESTEP < max(level for *_, level, _ in own)


@pytest.mark.parametrize(("given", "most"), [((), 1000), (("--class-word", "ball"), IMAGE_MAX_TIMESTEP)])
def test_a_class_tells_where_things_are_and_the_images_only_what_they_are(
    family, images, tmp_path, monkeypatch, given, most
):
    levels, prepared = [], DenoisingStage._prepared

    def noting(stage, example, device):
        made = prepared(stage, example, device)
        levels.extend(made.timesteps[1:].tolist())
        return made

    monkeypatch.setattr(DenoisingStage, "_prepared", noting)
    prior = ("--prior-prompt", "a red ball moving left", "--prior-images", 1, "--prior-frames", 3)
    assert train(family, images, tmp_path / "zorb.safetensors", *prior, "--images-per-clip", 12, *given) == 0
    assert 0.9 * most < max(levels) < most


# what cannot work


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "between 1 and 320"),
        ({"crop_scale": (0.8, 0.5)}, "smallest share to its largest, not 0.8 to 0.5"),
        ({"crop_scale": (0.0, 1.0)}, "between 0.1 and 1"),
        ({"rank": 321}, "between 1 and 320"),
        ({"alpha": float("nan")}, "alpha"),
        ({"targets": "everything"}, "Unknown lora targets"),
        ({"prior_images": 5}, "need a prompt"),
        ({"prior_frames": 8}, "Prior clips need"),
        ({"handheld_share": 0.5}, "needs prior clips"),
        ({"handheld_share": 1.0}, "0 to below 1 of the clips, not 1"),
        ({"trigger": "zorb", "prior_prompts": ("a zorb",), "prior_images": 1}, "holds the trigger"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        LoraSettings(**changes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--videos", "clips"), "--videos is not for `lavie train lora`"),
        (("--images", "gone"), "no folder gone"),
        (("--output", "lora.ckpt"), "written as .safetensors"),
        (("--size", "20x24"), "divisible by 8"),
        (("--export",), "--export"),
        (("--steps", "0"), "--steps 0"),
    ],
)
def test_bad_input_is_answered_with_a_sentence(family, images, tmp_path, capsys, options, message):
    assert train(family, images, tmp_path / "x.safetensors", *options) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.safetensors"))


def test_options_of_loras_are_refused_elsewhere(family, tmp_path, capsys):
    options = ["--family", str(family), "--run", str(tmp_path), "--steps", "1", "--videos", "world:1"]
    assert main(["train", "base", *options, "--trigger", "zorb"]) == 2
    assert "only for lora" in capsys.readouterr().err
