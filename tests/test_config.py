"""Families of models: where their files lie, and what their stages are set to."""

import dataclasses
import json

import pytest

from lavie.config import RELEASED_STAGES, StageConfig, find_family
from lavie.errors import LavieError, UsageError
from lavie.stages import CASCADE

PARTS = {"unet": "base", "vae": "vae", "text_encoder": "text_encoder", "tokenizer": "tokenizer"}


@pytest.fixture
def folders(tmp_path):
    """Three folders, of which the second holds a released file."""
    folders = [tmp_path / name for name in ("empty", "released", "parts")]
    for folder in folders:
        folder.mkdir()
    (folders[1] / "lavie_base.safetensors").touch()
    (folders[2] / "stable-diffusion-v1-4").mkdir()
    return folders


def test_the_released_family_is_in_the_first_folder_with_its_files(folders):
    family = find_family("lavie", folders)
    assert family.folder == folders[1]
    assert family.elsewhere == (folders[0], folders[2])


def test_files_are_found_in_the_other_folders_too(folders):
    family = find_family("lavie", folders)
    assert family.path("lavie_base.pt") == folders[1] / "lavie_base.safetensors"
    assert family.path("stable-diffusion-v1-4") == folders[2] / "stable-diffusion-v1-4"
    assert family.path("lavie_vsr.pt") == folders[1] / "lavie_vsr.pt"  # where it should be placed
    (folders[0] / "lavie_vsr.pt").touch()
    assert family.path("lavie_vsr.pt") == folders[0] / "lavie_vsr.pt"


def test_without_released_files_the_first_folder_is_where_they_should_be_placed(folders):
    family = find_family("lavie", [folders[0], folders[2]])
    assert family.path("lavie_base.pt") == folders[0] / "lavie_base.pt"


def test_without_folders_the_released_family_is_where_it_ever_was(tmp_path, monkeypatch):
    monkeypatch.setenv("LAVIE_MODELS", str(tmp_path))
    assert find_family("lavie").folder == tmp_path
    assert find_family("lavie").elsewhere == ()


def test_the_bundled_family_and_folders_by_name_need_no_others(folders):
    assert find_family("lavie-tiny", folders).elsewhere == ()
    assert find_family(folders[1], folders).folder == folders[1]
    with pytest.raises(UsageError, match="Unknown model"):
        find_family("magic", folders)


def test_an_extension_stage_is_read_where_a_family_has_one(tmp_path):
    stages = dict.fromkeys(CASCADE, PARTS)
    (tmp_path / "family.json").write_text(json.dumps({"name": "mine", **stages}))
    assert find_family(tmp_path).extension is None
    assert find_family(tmp_path).stage("base").unet == "base"
    with pytest.raises(UsageError, match="'mine' has no extension stage"):
        find_family(tmp_path).stage("extension")
    (tmp_path / "family.json").write_text(json.dumps({"name": "mine", **stages, "extension": PARTS}))
    assert find_family(tmp_path).stage("extension") == StageConfig.from_dict(PARTS)


def test_settings_are_replaced_where_they_are_given():
    base = RELEASED_STAGES["base"]
    changed = base.replaced(num_frames=24, guidance_scale=None, scheduler="euler")
    assert changed == dataclasses.replace(base, num_frames=24, scheduler="euler")
    assert base.replaced() == base


@pytest.mark.parametrize("scale", [-0.1, 101, float("nan"), float("inf")])
def test_a_guidance_scale_out_of_range_is_refused(scale):
    with pytest.raises(UsageError, match="between 0 and 100"):
        RELEASED_STAGES["base"].replaced(guidance_scale=scale)


def test_preview_factors_are_read_from_the_family_file(tmp_path):
    rows = [[0.1, 0.2, 0.3]] * 5
    stages = {stage: {**PARTS, "latent_rgb_factors": rows} for stage in CASCADE}
    (tmp_path / "family.json").write_text(json.dumps({"name": "mine", **stages}))
    assert find_family(tmp_path).base.latent_rgb_factors == ((0.1, 0.2, 0.3),) * 5
    assert hash(find_family(tmp_path).base)
    assert StageConfig.from_dict(PARTS).latent_rgb_factors == ()


@pytest.mark.parametrize("rows", [1, [[0.1, 0.2]] * 5, [[0.1, 0.2, 0.3]], [["a", "b", "c"]] * 5])
def test_preview_factors_of_another_shape_are_refused(rows, tmp_path):
    stages = {stage: {**PARTS, "latent_rgb_factors": rows} for stage in CASCADE}
    (tmp_path / "family.json").write_text(json.dumps({"name": "mine", **stages}))
    with pytest.raises(LavieError, match=r"latent_rgb_factors|cannot be read"):
        find_family(tmp_path)
