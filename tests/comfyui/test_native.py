"""LaVie's MODEL, CLIP and VAE are native: ComfyUI's own nodes sample, patch, offload, encode and decode them.

The folder native/ runs once, with ComfyUI's Python; the tests read what it found.
"""

import json
import subprocess
from pathlib import Path

import pytest
from support.checkout import COMFYUI, NEEDS_COMFYUI, PYTHON

pytestmark = NEEDS_COMFYUI
NATIVE = Path(__file__).parent / "native"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What native/ found, by the name of its check."""
    command = [PYTHON, "-B", str(NATIVE), str(COMFYUI), str(tmp_path_factory.mktemp("base"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(results, indent=1))

    def result(name):
        assert isinstance(results[name], dict), results[name]
        return results[name]

    return result


def test_ksampler_makes_the_clip_of_the_base_sampler(found):
    figures = found("ksampler_equals_the_base_sampler")
    assert figures["psnr"] >= 50
    assert figures["x0"] <= 2e-3


def test_a_network_that_predicts_clean_latents_is_taken_at_its_word(found):
    figures = found("prediction_of_clean_latents")
    assert figures["difference"] < 1e-5 < figures["norm"]


def test_other_samplers_make_clips_too(found):
    figures = found("other_samplers")
    assert all(2 < deviation < 8 for deviation in figures["deviation"].values())
    assert all(alike > 0.5 for alike in figures["alike_neighbours"].values())
    assert figures["custom_equals_ksampler"] < 1e-5


def test_ksampler_takes_batches_masks_video_and_image_latents(found):
    figures = found("batches_masks_and_image_latents")
    assert figures["batch"] == [2, 4, 4, 4, 6]
    assert figures["first_of_batch"] < 1e-3
    assert figures["kept"] < 1e-4 < figures["painted"]
    assert figures["image_latents"] == [1, 4, 1, 4, 6]
    assert figures["denoise"][0] < figures["denoise"][1]


def test_what_ksampler_cannot_sample_is_told_in_a_sentence(found):
    told = found("wrong_stage")
    assert "LaVie Frame Interpolation" in told["interpolation"]
    assert "LaVie Video Upscaler" in told["upscaler"]
    assert "768" in told["text"]
    assert all(message.startswith("UsageError: ") and message.endswith(".") for message in told.values())


def test_model_patches_change_the_clip_and_leave_the_model(found):
    moved = found("patches")
    assert moved.pop("none") == 0
    assert all(0.0005 < distance < 1 for distance in moved.values()), moved


def test_cancel_stops_inside_a_call_of_the_network(found):
    figures = found("cancel")
    assert figures == {"error": "InterruptProcessingException", "calls": 1, "hooks": 0, "afterwards": 0}


def test_the_preview_shows_the_first_frame(found):
    figures = found("preview")
    assert figures["size"] == [12, 8]
    assert figures["difference"] < 0.1 < figures["spread"]


def test_previews_show_the_whole_clip_and_can_be_switched_off(found):
    figures = found("moving_previews")
    for sampler in ("KSampler", "LaVie Base Sampler"):
        assert figures[sampler][-1] == ["WEBP", 4]
        assert all(preview == ["WEBP", 4] for preview in figures[sampler])
    assert figures["off"] == []


def test_clip_text_encode_gives_the_conditioning_of_lavie(found):
    figures = found("text")
    assert figures["same"]
    assert figures["weighted"] > 1e-3
    assert figures["long"] == [1, 231, 128]
    assert figures["clip_skip"] > 0.01
    assert figures["afterwards"]


def test_vae_nodes_take_videos(found):
    figures = found("pictures")
    assert figures["shapes"] == [[1, 4, 3, 8, 12], [3, 64, 96, 3], [3, 64, 96, 3]]
    assert figures["encode"] == figures["encode_tiled"] == figures["decode"] == 0
    assert figures["decode_tiled"] < 0.02


def test_a_vae_of_another_loader_takes_videos(found):
    figures = found("vae_of_another_loader")
    assert figures["shapes"] == [[1, 4, 3, 8, 12], [3, 64, 96, 3]]
    assert figures["encode"] < 1e-5
    assert figures["decode"] < 1e-5
    assert "4 pixels per latent pixel" in figures["refused"]


def test_lora_loaders_patch_the_same_weights_and_leave_the_rest(found):
    figures = found("lora")
    assert figures["changed"] > 10
    assert figures["against_core"] == figures["bundled"] == []
    assert figures["strength_0"] == figures["afterwards"] == []
    assert figures["plus_minus"] < 1e-6
    assert figures["changed_temporal"] == figures["with_temporal_file"] == []
    assert figures["clip_wired_out"]
    ((sentence, node),) = figures["said_of_temporal_file"]
    assert node == "3"
    assert "Left out, as this model has no place for them: 1 (" in sentence


def test_a_lora_changes_the_clip_of_both_samplers_and_nothing_afterwards(found):
    figures = found("lora_in_the_image")
    assert figures["base_sampler"] > 0.1
    assert figures["ksampler"] > 0.1
    assert figures["afterwards"] == figures["ksampler_afterwards"] == 0


def test_strengths_of_a_lora_by_block_and_over_the_steps(found):
    figures = found("lora_strengths")
    assert figures["blocks"] == ["mid_block"]
    assert figures["halved"] < 1e-6
    assert figures["weights_over_steps"] == []
    assert figures["constant"] < 1e-4
    assert figures["constant_ksampler"] < 1e-4
    assert figures["none"] == 0
    assert figures["late"] > 0.01


def test_a_model_that_is_loaded_in_part_predicts_the_same(found):
    figures = found("low_vram")
    assert figures["plain_loaded"] < 0.5
    assert figures["plain_cast_layers"] > 50
    assert figures["lora_weight_functions"] > 10
    assert figures["plain"] < 1e-5
    assert figures["lora"] < 1e-5
    assert figures["plain_prediction"] != figures["lora_prediction"]


def test_every_weight_may_be_patched_on_its_way_into_a_layer(found):
    """As under low VRAM and dynamic VRAM; a layer that is not the host's would stay on the wrong device there."""
    figures = found("weights_on_the_way")
    assert figures.pop("not_the_hosts") == []
    assert set(figures) == {"base", "interpolation", "upscaler", "extension"}
    assert all(max(differences) < 1e-4 for differences in figures.values()), figures


def test_the_host_can_load_a_model_once_more_for_another_card(found):
    figures = found("loaded_once_more")
    if not figures.pop("offered"):
        pytest.skip("this ComfyUI has no models on several cards (before 0.28)")
    assert not figures["same_network"]
    assert figures["differing"] == []
    is_alike, is_of_the_stage, wrappers = figures["kept"]
    assert is_alike
    assert is_of_the_stage
    assert "prepare_sampling" in wrappers  # with which the wires are checked


def test_what_the_trainer_writes_for_the_released_base_fits_core_stable_diffusion(found):
    figures = found("lora_on_stable_diffusion")
    assert figures["model"] == "SD15"
    assert figures["layers"] == figures["loaded"] == 256
    assert figures["text_encoder.layers"] == figures["text_encoder.loaded"] == 6 * 12
    assert figures["other_shapes"] == figures["text_encoder.other_shapes"] == []


def test_a_video_keeps_duration_and_sound_and_odd_sizes_reach_the_encoder_as_even_ones(found):
    figures = found("video_through_the_later_stages")
    (_, seconds), _ = figures["source"]
    for name, rate in (("interpolation", 45), ("upscaler", 12)):
        (codec, video), (sound, audio) = figures[name]
        assert (codec, sound) == ("h264", "aac")
        assert abs(video - seconds) <= 1 / rate
        assert abs(video - audio) <= 1 / 12
    assert [codec for codec, _ in figures["odd"]] == ["h264"]
    ((sentence, node),) = figures["said"]
    assert node == "7"
    assert "31×23 pixels are taken as 32×24" in sentence


def test_text_to_video_makes_the_frames_of_the_separate_nodes_and_they_are_saved(found):
    figures = found("text_to_video")
    assert figures["difference"] == 0
    assert figures["shape"] == [5, 128, 192, 3]
    ((codec, seconds),) = figures["tracks"]
    assert codec == "h264"
    assert abs(seconds - 5 / figures["fps"]) < 0.05


def test_the_hosts_controls_do_to_lavies_network_what_they_do_to_stable_diffusion(found):
    figures = found("network_of_one_frame")
    assert all(figures[name] < 1e-5 for name in ("none", "control_net", "adapter", "both"))
    assert all(figures[f"{name}_moves"] > 0.1 for name in ("control_net", "adapter", "both"))


@pytest.mark.parametrize("sampler", ["core", "ours"])
def test_controls_move_the_clip_in_ksampler_and_in_lavies_sampler(found, sampler):
    figures = found("samplers")
    assert all(moved > 1e-3 for moved in figures[sampler].values()), figures
    same = figures[f"{sampler}_same"]
    assert same["strength_0"] == same["afterwards"] == same["plain_node"] == 0
    assert same["held"] < 1e-3


def test_the_hosts_control_net_and_lavies_loader_of_it_make_the_same_frames(found):
    figures = found("by_lavies_loader")
    assert figures["psnr"] >= 50
    assert figures["moves"] > 0.1
