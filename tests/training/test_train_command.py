"""`lavie train`: what it refuses in one line, what a family is made of, and clips encoded ahead."""

import json
import shutil

import pytest
import torch
from support.networks import small_vae
from support.training_family import HEIGHT, WIDTH, make_family, small_unet

from lavie.checkpoints import load_unet
from lavie.cli import main
from lavie.config import find_family
from lavie.errors import UsageError
from lavie.lora.names import is_temporal
from lavie.training.assemble import StepRequest, read_curriculum
from lavie.training.inflate import EXTENSIONS
from lavie.training.settings import CONDITIONINGS

pytest.importorskip("accelerate")
pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ("--steps", 2, "--batch", 2, "--device", "cpu", "--threads", 1)
CLIPS = ("--videos", "world:4", "--frames", 4)


@pytest.fixture
def train(tmp_path, capsys):
    """Runs `lavie train STAGE` on the family in `tmp_path`: exit code and standard error."""

    def run(stage, *arguments, family=tmp_path / "family", run=tmp_path / "run"):
        values = ["train", stage, "--family", family, "--run", run, *SMALL, *arguments]
        try:
            code = main([str(value) for value in values])
        except SystemExit as ended:
            code = ended.code
        return code, capsys.readouterr().err

    return run


@pytest.fixture
def family(tmp_path):
    return make_family(tmp_path / "family")


# -- bad usage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("base",), "--videos"),
        (("base", "--images", "world-stills:4", "--frames", 4), "single images"),
        (("base", *CLIPS, "--steps", "many"), "--steps"),
        (("base", *CLIPS, "--text-dropout", "2"), "between 0 and 1"),
        (("base", *CLIPS, "--size", "20x20"), "divisible by 8"),
        (("base", *CLIPS, "--images-per-clip", "2"), "--images"),
        (("base", *CLIPS, "--steps", "0"), "--precompute"),
        (("base", *CLIPS, "--precompute-text"), "--precompute"),
        (("base", *CLIPS, "--patch", "64x64"), "larger than the clips"),
        (("base", *CLIPS, "--init", "nowhere"), "nowhere"),
        (("base", "--videos", "no/such/folder"), "no/such/folder"),
        (("base", *CLIPS, "--curriculum", "none.json"), "none.json"),
        (("interpolation", "--videos", "world:4", "--frames", "16"), "4n + 1"),
        (("interpolation", "--videos", "world:4", "--images", "world-stills:4"), "--images"),
        (("extension", "--videos", "world:4", "--frames", "1"), "2 or more"),
        (("extension", *CLIPS, "--train-text"), "only for base, lora"),
        (("base", *CLIPS, "--conditioning", "mask"), "only for extension"),
        (("base", *CLIPS, "--max-noise-level", "20"), "only for upscaler"),
        (("upscaler", *CLIPS, "--output", "x.safetensors"), "only for lora"),
        (("nowhere", *CLIPS), "choose from"),
        (("upscaler", *CLIPS, "--size", "40x40"), "divisible by 32"),
        (("base", *CLIPS, "--learning-rate", "fast"), "--learning-rate"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(train, family, arguments, told):
    code, error = train(*arguments)
    (line,) = (line for line in error.splitlines() if line.startswith("lavie: error"))
    assert code == 2
    assert told in line
    assert "Traceback" not in error


def test_a_family_has_to_be_there_or_be_made_of_something(train, tmp_path):
    code, error = train("base", *CLIPS)
    assert code == 2
    assert "family.json" in error
    (tmp_path / "family").mkdir()
    (tmp_path / "family" / "lavie_base.pt").touch()
    code, error = train("base", *CLIPS)
    assert code == 2
    assert "released weights" in error


def test_the_extension_needs_a_base(train, family):
    shutil.rmtree(family / "base")
    code, error = train("extension", *CLIPS)
    assert code == 2
    assert "train the base first" in error


def test_the_command_offers_the_forms_of_extension_that_there_are():
    assert set(CONDITIONINGS) == set(EXTENSIONS)


# -- what a run starts from --------------------------------------------------------------------------------------------


def test_the_base_learns_from_images_alone_and_leaves_what_looks_along_the_frames(train, family):
    before = load_unet(family / "base", dtype=torch.float32).state_dict()
    code, _ = train("base", "--images", "world-stills:4", "--warmup", 0)
    assert code == 0
    after = load_unet(family / "base", dtype=torch.float32).state_dict()
    changed = {name for name in before if not torch.equal(before[name].half(), after[name].half())}
    assert "conv_in.weight" in changed
    assert not [name for name in changed if is_temporal(name)]
    last = json.loads((family.parent / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert "image" in last
    assert "video" not in last


def test_the_base_trains_and_is_written_where_it_came_from(train, family):
    before = load_unet(family / "base")
    code, error = train("base", *CLIPS, "--learning-rate", "1e-2", "--warmup", 0)
    assert code == 0, error
    assert f"starts from the base network in {family}" in error
    after = load_unet(family / "base", stage="base")
    assert after.dtype == torch.float16
    assert not torch.equal(after.conv_in.weight.float(), before.conv_in.weight.half().float())


@pytest.mark.parametrize(("conditioning", "channels"), EXTENSIONS.items())
def test_the_extension_starts_from_the_base_and_joins_the_family(train, family, conditioning, channels):
    code, error = train("extension", *CLIPS, "--conditioning", conditioning)
    assert code == 0, error
    assert find_family(family).extension.num_frames == find_family(family).base.num_frames
    assert load_unet(family / "extension", stage="extension").config.in_channels == channels


def test_interpolation_starts_from_the_base(train, family):
    code, error = train("interpolation", "--videos", "world:4", "--frames", 5, 9)
    assert code == 0, error
    assert "widened" in error
    assert load_unet(family / "interpolation", stage="interpolation").config.in_channels == 8


def test_a_new_family_takes_its_parts_from_what_it_starts_from(train, family, tmp_path):
    code, error = train("base", *CLIPS, "--init", family, family=tmp_path / "mine")
    assert code == 0, error
    mine = find_family(tmp_path / "mine")
    assert mine.name == "mine"
    assert mine.base.height == HEIGHT
    for part in ("base", "vae", "text_encoder", "tokenizer"):
        assert (tmp_path / "mine" / part).is_dir()


def test_an_image_model_becomes_a_video_model(train, family, tmp_path):
    """A diffusers folder of a small Stable Diffusion 1.x is all that a new family needs."""
    from diffusers import UNet2DConditionModel

    image = UNet2DConditionModel(
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=1,
        norm_num_groups=16,
    )
    folder = tmp_path / "sd"
    image.save_pretrained(folder / "unet")
    for part in ("vae", "text_encoder", "tokenizer"):
        shutil.copytree(family / part, folder / part)
    size = f"{HEIGHT}x{WIDTH}"
    code, error = train("base", *CLIPS, "--init", folder, "--size", size, family=tmp_path / "mine")
    assert code == 0, error
    unet = load_unet(tmp_path / "mine" / "base", stage="base")
    trained = image.state_dict()["conv_in.weight"]
    torch.testing.assert_close(unet.conv_in.weight.float(), trained, atol=2e-3, rtol=0)


def test_only_temporal_layers_of_an_upscaler_learn(train, tmp_path):
    family = make_family(tmp_path / "family", ("base", "upscaler"))
    before = load_unet(family / "upscaler").half().state_dict()
    patches = ("--size", "128x128", "--patch", "64x64", "--fps", 8)
    images = ("--images", "world-stills:4", "--handheld-share", 0.5)
    code, error = train("upscaler", "--videos", "world:4", "--frames", 3, *patches, *images, "--warmup", 0)
    assert code == 0, error
    after = load_unet(family / "upscaler", stage="upscaler").state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert all("temporal" in name for name in changed)


def test_a_fresh_upscaler_learns_with_all_its_layers(train, family):
    code, error = train("upscaler", "--videos", "world:4", "--frames", 2, "--size", "64x64", "--patch", "32x32")
    assert code == 0, error
    assert "fresh weights, seed 0; learns: all" in error


def test_a_lora_is_written_on_its_own_too(train, family):
    pytest.importorskip("peft")
    code, error = train("base", *CLIPS, "--train", "spatial-lora", "--lora-rank", 2, "--warmup", 0)
    assert code == 0, error
    assert (family / "loras" / "random-base.safetensors").is_file()
    assert load_unet(family / "base", stage="base").config == small_unet("base").config


def test_a_run_exports_the_network_of_its_last_checkpoint(train, family, tmp_path):
    code, error = train("base", *CLIPS, "--warmup", 0)
    assert code == 0, error
    made = load_unet(family / "base").state_dict()
    code, error = train("base", *CLIPS, "--export", "--init", "scratch")
    assert code == 1
    assert "does not fit" in error
    code, error = train("base", *CLIPS, "--export", "--init", family, family=tmp_path / "copy")
    assert code == 0, error
    assert "of step 2" in error
    copied = load_unet(tmp_path / "copy" / "base").state_dict()
    assert all(torch.equal(copied[name], tensor) for name, tensor in made.items())
    code, error = train("base", *CLIPS, "--export", run=tmp_path / "empty")
    assert code == 2
    assert "no checkpoint" in error


# -- data --------------------------------------------------------------------------------------------------------------


def test_clips_encoded_ahead_are_all_that_training_reads(train, family, tmp_path):
    ahead = (*CLIPS, "--images", "world-stills:4", "--images-per-clip", 1, "--precompute", tmp_path / "latents")
    code, error = train("base", *ahead, "--steps", 0)
    assert code == 0, error
    assert not (tmp_path / "run").exists()
    assert len(list((tmp_path / "latents").rglob("*.safetensors"))) == 2
    code, error = train("base", *ahead, "--precompute-text")
    assert code == 2  # these latents have no text beside them
    assert "latents" in error
    code, error = train("base", *ahead)
    assert code == 0, error


def test_a_folder_with_latents_of_another_vae_is_refused(train, family, tmp_path):
    ahead = (*CLIPS, "--precompute", tmp_path / "latents", "--steps", 0)
    assert train("base", *ahead)[0] == 0
    make_family(tmp_path / "other")
    small_vae(8, 8, 8, 8).save_pretrained(tmp_path / "other" / "vae")
    code, error = train("base", *ahead, family=tmp_path / "other")
    assert code == 2
    assert "other networks" in error


def test_lengths_and_rates_are_drawn_by_the_step_alone():
    request = StepRequest((5, 9), (8.0, 32.0), 16, 24, "center", 0)
    drawn = [request(step) for step in range(40)]
    assert {(clip.num_frames, clip.fps) for clip in drawn} == {(5, 8.0), (5, 32.0), (9, 8.0), (9, 32.0)}
    assert [request(step) for step in range(40)] == drawn


def test_a_curriculum_names_its_sources_by_their_specs(tmp_path):
    file = tmp_path / "curriculum.json"
    stages = [{"step": 0, "weights": {"a.csv": 1}}, {"step": 100, "weights": {"a.csv": 0.2, "b.csv": 0.8}}]
    file.write_text(json.dumps(stages))
    names = {"a.csv": "A", "b.csv": "B"}
    assert read_curriculum(file, names) == [(0, {"A": 1.0}), (100, {"A": 0.2, "B": 0.8})]
    with pytest.raises(UsageError, match=r"b\.csv"):
        read_curriculum(file, {"a.csv": "A"})
